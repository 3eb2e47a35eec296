package compose

import (
	"context"
	"net/http"
	"strings"

	"opsbot/internal/fault"
)

// Fault gives faults to every replica of the API, as the query of its /fault:
// "slow=80ms&err=20". "" ends them all.
func (p *Patient) Fault(ctx context.Context, query string) error {
	urls, err := p.Replicas(ctx)
	if err != nil {
		return err
	}
	if len(urls) == 0 {
		return fault.New(fault.NotFound, "The patient's API has no running container.")
	}
	for _, base := range urls {
		if err := setFault(ctx, base, query); err != nil {
			return err
		}
	}
	return nil
}

func setFault(ctx context.Context, base, query string) error {
	method := http.MethodPost
	if query == "" {
		method = http.MethodDelete
	}
	req, err := http.NewRequestWithContext(ctx, method, base+"/fault?"+query, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return failed("Giving the API a fault", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		body := make([]byte, 512)
		n, _ := resp.Body.Read(body)
		return fault.New(fault.Invalid, "The API refuses the fault %q: %s", query, strings.TrimSpace(string(body[:n])))
	}
	return nil
}
