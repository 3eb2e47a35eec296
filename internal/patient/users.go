package patient

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// pace is the time between two lookups: 16 a second.
	pace = 62500 * time.Microsecond
	// clerks is how many lookups may be under way at once. Each takes at most
	// 60 ms and a bit; with this many the pace is kept on a busy machine too.
	clerks = 8
)

// users ask the API for one user after another until ctx ends, everybody once
// before anybody twice.
func (p *Patient) users(ctx context.Context) error {
	transport := &http.Transport{MaxIdleConnsPerHost: clerks}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	work := make(chan string)
	g, ctx := errgroup.WithContext(ctx)
	for range clerks {
		g.Go(func() error {
			for user := range work {
				// What goes wrong shows in the API's figures, which is the point.
				_ = p.ask(ctx, client, user)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(work)
		tick := time.NewTicker(pace)
		defer tick.Stop()
		names := p.Users()
		for {
			rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			for _, user := range names {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return nil
				}
				select {
				case work <- user:
				case <-ctx.Done():
					return nil
				}
			}
		}
	})
	return g.Wait()
}

func (p *Patient) ask(ctx context.Context, client *http.Client, user string) error {
	path := strings.ReplaceAll(WarmupPath, "{user}", url.QueryEscape(user))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.APIURL()+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	drain(resp.Body)
	return nil
}
