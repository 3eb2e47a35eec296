package blockkit

import "testing"

func TestEveryLimitIsUsed(t *testing.T) {
	t.Parallel()
	for path := range limits {
		if !usedLimits[path] {
			t.Errorf("limit %s is in facts, but no rule refers to it", path)
		}
	}
}
