package settings

import "slices"

// Changes returns the names of the settings in which l differs from the running program, in the order of the table.
// Live reports that the running program can apply all of them without a new process. It cannot if a secret was read
// from a file, which may have changed as well.
func (l *Loaded) Changes(running *Loaded) (names []string, live bool) {
	live = true
	for _, s := range l.table.settings() {
		if s.FileOf != "" && s.to.set == nil && l.isSet(s.Name) {
			live = false
		}
		if !slices.Equal(l.effective(s), running.effective(s)) {
			names = append(names, s.Name)
			live = live && s.Live
		}
	}
	return names, live && len(names) > 0
}

// effective returns the texts of the value of a setting.
func (l *Loaded) effective(s *Setting) []string {
	texts := l.given[s.Name].texts
	if len(texts) == 0 || !s.to.list && texts[0] == "" {
		return []string{s.Default}
	}
	return texts
}
