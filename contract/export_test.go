package contract

import "reflect"

// FieldNames are those of fieldsOf.
func FieldNames(t reflect.Type) (names []string) {
	for _, f := range fieldsOf(t) {
		names = append(names, f.name)
	}
	return names
}
