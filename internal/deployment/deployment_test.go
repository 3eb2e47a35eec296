package deployment_test

import (
	"testing"

	"opsbot/internal/deployment"
)

func TestTag(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"": "", "app": "", "app:1.4": "1.4", "registry:5000/app": "", "registry:5000/team/app:1.4-rc.1": "1.4-rc.1",
		"app@sha256:0f": "", "app:1.4@sha256:0f": "1.4",
	} {
		if got := (deployment.Deployment{Image: image}).Tag(); got != want {
			t.Errorf("the tag of %q is %q, want %q", image, got, want)
		}
	}
}
