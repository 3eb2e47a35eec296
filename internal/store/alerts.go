package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"opsbot/internal/alert"
	"opsbot/internal/outbox"
)

// alerts is the board of alerts.
type alerts struct{ s *Store }

// Alerts returns the board of alerts.
func (s *Store) Alerts() alert.Board { return alerts{s} }

func (v alerts) Tell(ctx context.Context, r alert.Report) (queued bool, err error) {
	_, data, err := outbox.Encode(r.Content)
	if err != nil {
		return false, fmt.Errorf("store: encode the card of alerts: %w", err)
	}
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	err = v.s.write(ctx, func(t *tx) error {
		queued = false
		_, err := t.exec(`INSERT INTO alerts (group_id, episode, firing, digest, onsets, changed_at)
			VALUES ($1, 0, FALSE, '', '', {now}) ON CONFLICT (group_id) DO NOTHING`, clean(r.Group))
		if err != nil {
			return err
		}
		var episode int64
		var firing bool
		var said string
		var over []string
		// Locked, so that of two replicas with the same report one sees what the other did.
		_, err = t.one(`SELECT episode, firing, digest, onsets FROM alerts WHERE group_id = $1 {lock}`, []any{clean(r.Group)},
			&episode, flag(&firing), &said, document(&over))
		if err != nil {
			return err
		}
		switch {
		case r.Firing && !firing:
			if late(r.Onsets, over) {
				return nil
			}
			episode++
		case !r.Firing && !firing, digest == said:
			return nil
		}
		var ended []string
		if !r.Firing {
			ended = r.Onsets
		}
		onsets, err := document(&ended).value()
		if err != nil {
			return err
		}
		_, err = t.exec(`UPDATE alerts SET episode = $2, firing = $3, digest = $4, onsets = $5, changed_at = {now} WHERE group_id = $1`,
			clean(r.Group), episode, r.Firing, digest, onsets)
		if err != nil {
			return err
		}
		queued = true
		return enqueue(t, []outbox.Notice{{Key: fmt.Sprintf("alert/%s/%d", r.Group, episode), Content: r.Content}})
	})
	return queued && err == nil, err
}

// late reports whether all alerts were reported resolved before.
func late(onsets, over []string) bool {
	return len(over) > 0 && !slices.ContainsFunc(onsets, func(o string) bool { return !slices.Contains(over, o) })
}
