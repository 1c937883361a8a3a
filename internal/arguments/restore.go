package arguments

// Restore puts attachments in the place of placeholders in what has been decoded
// into an *any, *[]any or *map[string]any.
func Restore(dst any, attachments [][]byte) {
	binary := func(v any) (b []byte, ok bool) {
		m, isMap := v.(map[string]any)
		if !isMap || m["_placeholder"] != true {
			return nil, false
		}
		num, isNumber := m["num"].(float64)
		if i := int(num); isNumber && i >= 0 && i < len(attachments) {
			return attachments[i], true
		}
		return nil, false
	}
	var open []any // containers to be looked into; no recursion over what a peer has nested
	look := func(v any) {
		switch v.(type) {
		case []any, map[string]any:
			open = append(open, v)
		}
	}
	switch dst := dst.(type) {
	case *any:
		if b, ok := binary(*dst); ok {
			*dst = b
		}
		look(*dst)
	case *[]any:
		look(*dst)
	case *map[string]any:
		look(*dst)
	}
	for len(open) > 0 {
		v := open[len(open)-1]
		open = open[:len(open)-1]
		switch v := v.(type) {
		case []any:
			for i, x := range v {
				if b, ok := binary(x); ok {
					v[i] = b
				} else {
					look(x)
				}
			}
		case map[string]any:
			for k, x := range v {
				if b, ok := binary(x); ok {
					v[k] = b
				} else {
					look(x)
				}
			}
		}
	}
}
