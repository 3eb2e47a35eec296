package main

import (
	"encoding/json"
	"strings"
	"testing"

	"opsbot/internal/deployment"
)

const deploys = `---
format: 1
runbook: deploy
owner: sre
roles: { run: [oncall, sre] }
params:
  tag: { type: string, required: true, pattern: "^[0-9.]+$" }
  id: { type: string, required: true, pattern: "^[0-9a-f]{64}$" }
timeout: 5m
---
# Put the API into service

A runbook of a test.

## 1. What runs?

` + "```yaml step" + `
id: was
do: deployment.last
with: { service: api }
` + "```" + `

## 2. Write it down

` + "```yaml step" + `
id: record
do: deployment.record
with: { service: api, image: "app:${{ params.tag }}", image_id: "sha256:${{ params.id }}", migration_head: ae12 }
` + "```" + `

## Report

` + "```markdown report" + `
Was ${{ steps.was?.result?.last?.tag ?? "?" }}, back to ${{ steps.was?.result?.before?.image_id ?? "?" }}.
` + "```" + `
`

// What runbooks put into service is asked for in Slack, at a terminal, and by
// the next run.
func TestDeployments(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.book("deploy.md", deploys)
	h.serve()
	h.slash("ann", "/runbook deployments")
	h.find("UANN", "Deployments", "Nothing is on record.")
	ids := []string{strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)}
	for i, tag := range []string{"1.0", "1.1", "1.2"} {
		if code, _, errs := h.opsbot("", "run", "deploy", "tag="+tag, "id="+ids[i]); code != 0 {
			t.Fatalf("opsbot run gave %d:\n%s", code, errs)
		}
	}
	// What a dry run reads is real; it writes nothing down, and says so.
	code, _, errs := h.opsbot("", "run", "deploy", "--dry-run", "tag=9.9", "id="+ids[0])
	if !strings.Contains(errs, "not recorded: a dry run") || !strings.Contains(errs, "app:1.2 (cccccccccccc)") {
		t.Errorf("the dry run gave %d:\n%s", code, errs)
	}
	h.find("UANN", "Was 1.1, back to sha256:"+ids[0]) // the third run's report
	h.slash("ann", "/runbook deployments api env=demo")
	h.find("UANN", "Deployments of api on demo", "D3 api on demo", "app:1.2, sha256:"+ids[2], "in R3 (deploy)", "migrations at ae12", "D1 api on demo")

	code, out, errs := h.opsbot("", "deployments", "list", "--output", "json", "--service", "api")
	var list []deployment.Deployment
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list) != 3 {
		t.Fatalf("opsbot deployments list gave %d, %v:\n%s%s", code, err, out, errs)
	}
	if d := list[0]; d.Number != 3 || d.ImageID != "sha256:"+ids[2] || d.By.ID != "UCLEO" || d.RunNumber != 3 || d.At.IsZero() {
		t.Errorf("the newest is %+v", d)
	}
	if code, out, errs := h.opsbot("", "deployments"); code != 0 || !strings.Contains(out, "D2") || !strings.Contains(out, "app:1.1") {
		t.Errorf("opsbot deployments gave %d:\n%s%s", code, out, errs)
	}
	if code, out, errs := h.opsbot("", "deployments", "show", "D2"); code != 0 || !strings.Contains(out, "sha256:"+ids[1]) || !strings.Contains(out, "R2, deploy, step record") {
		t.Errorf("opsbot deployments show gave %d:\n%s%s", code, out, errs)
	}
	if code, _, errs := h.opsbot("", "deployments", "show", "D9"); code != exitUsage || !strings.Contains(errs, `There is no deployment "D9"`) {
		t.Errorf("opsbot deployments show of nothing gave %d:\n%s", code, errs)
	}
}
