package engine_test

import (
	"context"
	"sync/atomic"
	"time"

	"opsbot/runbooks/engine"
)

// ahead is a store whose clock runs ahead where approvals are concerned.
type ahead struct {
	engine.Store
	by    atomic.Int64 // ns
	blind bool         // Overdue finds nothing: the sweep has not come yet
}

func (s *ahead) Now(ctx context.Context) (time.Time, error) {
	t, err := s.Store.Now(ctx)
	return t.Add(time.Duration(s.by.Load())), err
}

func (s *ahead) Overdue(ctx context.Context, limit int) ([]string, error) {
	if s.blind {
		return nil, nil
	}
	runs, err := s.List(ctx, engine.Query{Unended: true})
	now, nerr := s.Now(ctx)
	if err != nil || nerr != nil {
		return nil, err
	}
	var ids []string
	for _, r := range runs {
		for _, a := range r.Approvals {
			if a.State == engine.Open && (!now.Before(a.Expires) || !a.Remind.IsZero() && !now.Before(a.Remind)) {
				ids = append(ids, r.ID)
				break
			}
		}
	}
	return ids, nil
}
