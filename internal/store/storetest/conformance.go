package storetest

import (
	"testing"

	"opsbot/internal/store"
)

// Run holds the stores at the URLs, each time of an empty database, to the
// contracts.
func Run(t *testing.T, url func(t testing.TB) string) {
	for _, group := range []map[string]func(*testing.T, *store.Store){runTests, inboxTests, outboxTests, auditTests, crowdTests, scheduleTests, deploymentTests, alertTests, figureTests, parcelTests, postmortemTests, outreachTests, incidentTests} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, OpenURL(t, url(t)))
			})
		}
	}
	for name, test := range urlTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := url(t)
			test(t, OpenURL(t, u), u)
		})
	}
}
