package redis

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"opsbot/internal/fault"
	"opsbot/runbooks"
)

type bgsave struct{}

// A Snapshot is the result of redis.bgsave.
type Snapshot struct {
	Took     time.Duration `json:"took" help:"until the snapshot was on disk, in whole seconds"`
	Changes  int           `json:"changes" help:"since the snapshot before"`
	COW      int           `json:"cow" help:"bytes of memory that the snapshot took besides"`
	LastSave time.Time     `json:"last_save" help:"when it was written, by the server's clock"`
}

// Found says the result in one line.
func (r Snapshot) Found() string {
	return fmt.Sprintf("a snapshot with %s is on disk, after %s; it took %s of memory besides", things(r.Changes, "change"), r.Took, size(r.COW))
}

func (bgsave) Spec() runbooks.Spec {
	return runbooks.Spec{
		Name:    "redis.bgsave",
		Summary: "Write a snapshot in the background and wait until it is on disk.",
		Timeout: 10 * time.Minute,
		Result:  Snapshot{},
	}
}

// Run does not trust LASTSAVE, which has a resolution of a second and stays as
// it was when a save fails: the count of snapshots must have risen. Repeating
// it writes another snapshot.
func (bgsave) Run(ctx context.Context, call runbooks.Call, out io.Writer) (any, error) {
	c, err := connOf(call)
	if err != nil {
		return nil, err
	}
	before, err := c.state(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.mayFork(before); err != nil {
		return nil, err
	}
	if err := c.client.BgSave(ctx).Err(); err != nil {
		if strings.HasPrefix(err.Error(), "ERR Background save already in progress") {
			return nil, c.busySaving().Because(err)
		}
		return nil, c.explain("start a snapshot of", err)
	}
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		after, err := c.state(ctx)
		switch {
		case err != nil:
			return nil, err
		case after.Info.RunID != before.Info.RunID:
			return nil, fault.New(fault.Unavailable, "%s restarted while it wrote a snapshot.", c.subject()).
				Hinted("Look for the kernel's OOM killer: a snapshot needs memory besides.")
		case after.Info.Saving:
		case after.Saves > before.Saves && after.Info.LastSaveOK:
			r := Snapshot{Took: after.SaveTook, Changes: before.Info.Unsaved, COW: int(after.SaveCOW), LastSave: after.Info.LastSave}
			fmt.Fprintln(out, r.Found())
			return r, nil
		case !after.Info.LastSaveOK:
			return nil, fault.New(fault.Unavailable, "%s could not write its snapshot.", c.subject()).
				Hinted("Check the disk and the directory of its snapshots, and its log. If it saves by itself, it refuses writes until a snapshot succeeds.")
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, c.explain("wait for the snapshot of", ctx.Err())
		}
	}
}

func (c *Conn) busySaving() *fault.Error {
	return fault.New(fault.Conflict, "%s is writing a snapshot or its append-only file already.", c.subject()).
		Hinted("Wait until redis.info says that it is not saving.")
}

// mayFork says why a snapshot would be unwise. The machine's disk cannot be
// seen from here.
func (c *Conn) mayFork(s state) error {
	switch {
	case s.major() < 7:
		return fault.New(fault.Conflict, "%s is Redis %s, which does not count its snapshots: nobody could tell that one was written.", c.subject(), s.Info.Version).
			Hinted("opsbot writes snapshots of Redis 7 and newer.")
	case s.Info.Loading:
		return fault.New(fault.Unavailable, "%s is still loading its data.", c.subject()).Hinted("Wait until it is ready and try again.")
	case s.Info.Saving:
		return c.busySaving()
	case s.Memory > 0 && int64(s.Info.RSSMemory)+int64(s.Info.UsedMemory) > s.Memory:
		return fault.New(fault.Conflict, "%s has %s of data on a machine with %s of memory: while a snapshot is written, what changes is there twice, and there is no room for that.",
			c.subject(), size(s.Info.UsedMemory), size(int(s.Memory))).
			Hinted("Free memory first, or write the snapshot on a replica.")
	}
	return nil
}
