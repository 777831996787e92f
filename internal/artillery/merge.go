package artillery

// merge returns base with over applied to it, as artillery does for an environment: objects are merged field by field
// and lists item by item, and any other value is replaced. Neither base nor over is changed.
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
