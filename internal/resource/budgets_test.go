package resource

import "testing"

func TestBudgets(t *testing.T) {
	tests := []struct {
		name      string
		set       Budgets
		heapLimit int64
		want      Budgets
	}{
		{"shares of the heap", Budgets{}, 8 * gib, Budgets{Partial: gib, Queued: 2 * gib, Pending: gib}},
		{"of 4 GiB without a limit", Budgets{}, 0, Budgets{Partial: 512 * mib, Queued: gib, Pending: 512 * mib}},
		{"as set", Budgets{Partial: 1, Queued: 2, Pending: 3}, gib, Budgets{Partial: 1, Queued: 2, Pending: 3}},
		{"negative is no limit", Budgets{Partial: -1, Queued: -2, Pending: -3}, gib, Budgets{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.set.Resolve(tt.heapLimit); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
