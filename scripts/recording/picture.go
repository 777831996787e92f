//go:build linux

package main

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Measures of the picture in pixels.
const (
	lineHeight = 17
	charWidth  = 7.25
	margin     = 14
	titleBar   = 26
)

// pane is a terminal in the picture.
type pane struct {
	title string
	*screen
}

// style is that of the picture. Its animation is CSS, which runs in images on GitHub, too. Those who want less motion
// see the end.
const style = `svg{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.p{fill:#0d1117;stroke:#30363d}.h{fill:#161b22}.t{fill:#9198a1}
.l{fill:#d1d7e0;white-space:pre}.c{fill:#7ee787}.g{fill:#79c0ff}
.s{visibility:hidden;animation:%.2fs steps(1) infinite}
@media(prefers-reduced-motion:reduce){.s{animation:none!important}.e{visibility:visible}}
`

// frame is what is around the panes.
const frame = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d"
 role="img">
<title>A reload under traffic: a recording of terminals</title>
<style>
%[3]s</style>
%[4]s</svg>
`

// shown is a text that a line has for some time.
type shown struct {
	line     int
	from, to time.Duration
	text     string
}

// texts returns what the lines of a screen show, and when. The last ones stay until the end.
func (s *screen) texts(end time.Duration) (list []shown) {
	open := make(map[int]int) // by line: the position in list, and one
	for _, c := range s.changes {
		if i := open[c.line]; i > 0 {
			list[i-1].to = c.at
		}
		list = append(list, shown{c.line, c.at, end, strings.TrimRight(c.text, " ")})
		open[c.line] = len(list)
	}
	return slices.DeleteFunc(list, func(x shown) bool { return x.text == "" || x.to-x.from < 20*time.Millisecond })
}

// picture returns an SVG that repeats what the panes have shown until end. It has no links and no scripts.
func picture(panes []pane, end time.Duration) string {
	var styles, body strings.Builder
	fmt.Fprintf(&styles, style, end.Seconds())
	columns, y := 0, 0
	for _, p := range panes {
		columns = max(columns, p.columns)
	}
	width, n := int(float64(columns)*charWidth)+2*margin, 0
	for _, p := range panes {
		texts := p.texts(end)
		lines := 0
		for _, x := range texts {
			lines = max(lines, x.line+1)
		}
		height := titleBar + lines*lineHeight + margin
		fmt.Fprintf(&body, `<rect class="p" x=".5" y="%d.5" width="%d" height="%d" rx="6"/>`+"\n", y, width-1, height)
		fmt.Fprintf(&body, `<text class="t" x="%d" y="%d">%s</text>`+"\n", margin, y+17, p.title)
		for _, x := range texts {
			n++
			name := fmt.Sprintf("k%d", n)
			fmt.Fprintf(&styles, "@keyframes %s{%s}\n", name, keyframes(x, end))
			class := "l s"
			if strings.HasPrefix(x.text, "$ ") {
				class += " c"
			} else if strings.HasPrefix(x.text, "reloaded ") {
				class += " g"
			}
			if x.to == end {
				class += " e"
			}
			fmt.Fprintf(&body, `<text class="%s" x="%d" y="%d" style="animation-name:%s">%s</text>`+"\n",
				class, margin, y+titleBar+(x.line+1)*lineHeight-4, name, escape(x.text))
		}
		y += height + 8
	}
	return fmt.Sprintf(frame, width, y-7, styles.String(), body.String())
}

// keyframes returns when a text is visible, in percent of the whole time.
func keyframes(x shown, end time.Duration) string {
	percent := func(d time.Duration) string {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*d.Seconds()/end.Seconds()), ".0") + "%"
	}
	frames := percent(x.from) + "{visibility:visible}"
	if x.to < end {
		frames += percent(x.to) + "{visibility:hidden}"
	} else {
		frames += "to{visibility:visible}"
	}
	return frames
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}
