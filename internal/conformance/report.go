package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Report is the results of any number of runs.
type Report struct {
	Rules   []Rule
	Results []Result
}

// tally counts outcomes.
type tally struct {
	Runs int `json:"runs"`
	Pass int `json:"pass"`
	Weak int `json:"weak"`
	Fail int `json:"fail"`
}

func (n *tally) add(o Outcome) {
	n.Runs++
	switch o {
	case Pass:
		n.Pass++
	case Weak:
		n.Weak++
	default:
		n.Fail++
	}
}

// verdict is the worst outcome in one word.
func (n tally) verdict() string {
	switch {
	case n.Runs == 0:
		return "not run"
	case n.Fail > 0:
		return "**fail**"
	case n.Weak > 0:
		return "*weak*"
	default:
		return "pass"
	}
}

// Bad returns the results that are not Pass.
func (r *Report) Bad() (bad []Result) {
	for _, res := range r.Results {
		if res.Outcome != Pass {
			bad = append(bad, res)
		}
	}
	return bad
}

// Broken returns the ids of the rules that have failed; with weak also those that were kept weakly.
func (r *Report) Broken(weak bool) (ids []string) {
	for i := range r.Rules {
		if n := r.of(&r.Rules[i]); n.Fail > 0 || weak && n.Weak > 0 {
			ids = append(ids, r.Rules[i].ID)
		}
	}
	return ids
}

// Run returns the number of rules that were run.
func (r *Report) Run() (n int) {
	for i := range r.Rules {
		if r.of(&r.Rules[i]).Runs > 0 {
			n++
		}
	}
	return n
}

// of returns the outcomes of a rule.
func (r *Report) of(rule *Rule) tally {
	return r.tally(func(res *Result) bool { return res.Rule == rule.ID })
}

func (r *Report) tally(of func(*Result) bool) (n tally) {
	for i := range r.Results {
		if of(&r.Results[i]) {
			n.add(r.Results[i].Outcome)
		}
	}
	return n
}

// names returns the distinct values of a field of the results, in the order of their first use.
func (r *Report) names(field func(*Result) string) (list []string) {
	for i := range r.Results {
		if v := field(&r.Results[i]); !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

// maxDetails is how many failed runs the table shows; the JSON has all.
const maxDetails = 200

// WriteMarkdown writes a summary, what failed, and a table of all rules.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	all := r.tally(func(*Result) bool { return true })
	cases := 0
	for i := range r.Rules {
		cases += len(r.Rules[i].Cases)
	}
	fmt.Fprintf(&b, "# Conformance\n\n%d rules with %d cases, %d runs: %d passed, %d weak, %d failed.\n\n",
		len(r.Rules), cases, all.Runs, all.Pass, all.Weak, all.Fail)
	b.WriteString("*Weak*: the connection was failed, as it must be, without the close code that should tell why.\n\n")
	b.WriteString("| server | combination | runs | passed | weak | failed |\n|---|---|--:|--:|--:|--:|\n")
	for _, t := range r.names(func(res *Result) string { return res.Target }) {
		for _, c := range r.names(func(res *Result) string { return res.Combination }) {
			n := r.tally(func(res *Result) bool { return res.Target == t && res.Combination == c })
			if n.Runs > 0 {
				fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d |\n", t, c, n.Runs, n.Pass, n.Weak, n.Fail)
			}
		}
	}
	if bad := r.Bad(); len(bad) > 0 {
		b.WriteString("\n## What failed\n\n")
		b.WriteString("| rule | case | server | combination | result | what happened |\n|---|---|---|---|---|---|\n")
		for _, res := range bad[:min(len(bad), maxDetails)] {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", res.Rule, cell(res.Case), res.Target, res.Combination,
				res.Outcome, cell(res.Detail))
		}
		if len(bad) > maxDetails {
			fmt.Fprintf(&b, "\n%d more are in the JSON report.\n", len(bad)-maxDetails)
		}
	}
	b.WriteString("\n## Rules\n\n| section | level | rule | id | cases | runs | result |\n|---|---|---|---|--:|--:|---|\n")
	for i := range r.Rules {
		rule := &r.Rules[i]
		n := r.of(rule)
		verdict := n.verdict()
		if rule.Unseen != "" {
			verdict = "not observable: " + rule.Unseen
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d | %d | %s |\n", rule.Section, rule.Level, cell(rule.Text), rule.ID,
			len(rule.Cases), n.Runs, verdict)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// cell returns s as the text of a table's cell.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(s)
}

// WriteJSON writes all results.
func (r *Report) WriteJSON(w io.Writer) error {
	type row struct {
		ID      string   `json:"id"`
		Section string   `json:"section"`
		Level   string   `json:"level"`
		Text    string   `json:"text"`
		Unseen  string   `json:"not_observable,omitempty"`
		Cases   []string `json:"cases"`
		Tally   tally    `json:"tally"`
	}
	out := struct {
		Tally   tally    `json:"tally"`
		Rules   []row    `json:"rules"`
		Results []Result `json:"results"`
	}{Tally: r.tally(func(*Result) bool { return true }), Results: r.Results}
	for i := range r.Rules {
		rule := &r.Rules[i]
		e := row{ID: rule.ID, Section: rule.Section, Level: rule.Level.String(), Text: rule.Text, Unseen: rule.Unseen}
		for j := range rule.Cases {
			e.Cases = append(e.Cases, rule.Cases[j].Name)
		}
		e.Tally = r.of(rule)
		out.Rules = append(out.Rules, e)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "\t")
	return enc.Encode(out)
}
