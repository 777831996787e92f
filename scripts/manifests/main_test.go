package main

import (
	"strings"
	"testing"
)

// TestCheckFindsFaults: a field that does not exist, a value of another type and an unknown kind are errors.
func TestCheckFindsFaults(t *testing.T) {
	const fine = "apiVersion: v1\nkind: Service\nspec:\n  ports:\n    - port: 80\n"
	if err := check([]byte(fine)); err != nil {
		t.Error(err)
	}
	for name, change := range map[string][2]string{
		"field":   {"ports", "portz"},
		"type":    {"80", "eighty"},
		"kind":    {"Service", "Servce"},
		"version": {"v1", "v9"},
	} {
		if check([]byte(strings.Replace(fine, change[0], change[1], 1))) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
