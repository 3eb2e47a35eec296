package storetest

import (
	"testing"

	"opsbot/internal/store"
)

// Run holds the stores that open returns, each time an empty one, to the
// contracts.
func Run(t *testing.T, open func(t testing.TB) *store.Store) {
	for _, group := range []map[string]func(*testing.T, *store.Store){runTests} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, open(t))
			})
		}
	}
}
