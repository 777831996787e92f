package artillery

// merge lays over into base, as artillery does with an environment: objects field by field, lists item by item, and
// anything else takes the place of what was there. Nothing of over is shared with base that either changes later.
func merge(base, over *node) *node {
	switch {
	case base == nil || base.kind != over.kind:
		return over
	case over.kind == object:
		out := *base
		out.fields = append([]field(nil), base.fields...)
		for _, f := range over.fields {
			f.value = merge(base.get(f.key), f.value)
			out.set(f)
		}
		return &out
	case over.kind == list:
		out := *base
		out.items = append([]*node(nil), base.items...)
		for i, item := range over.items {
			if i < len(out.items) {
				out.items[i] = merge(out.items[i], item)
			} else {
				out.items = append(out.items, item)
			}
		}
		return &out
	}
	return over
}
