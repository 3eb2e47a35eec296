package stats_test

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"
	"time"

	"opsbot/incidents/stats"
)

func TestChart(t *testing.T) {
	t.Parallel()
	if png, err := stats.Summarize(nil).Chart("Nothing"); err != nil || png != nil {
		t.Errorf("of nothing: %d bytes, %v", len(png), err)
	}
	one := of("SEV1", 3, 5, 7, 40, 65)
	one.Approvals = 4 * time.Minute
	unknown := of("SEV2", 1, 2, 9, 80, 140)
	unknown.Started = time.Time{}
	drill := one
	drill.Excluded = true
	month := of("SEV3", 1, 2, 9, 80, 43000)
	for name, records := range map[string][]stats.Record{
		"usual":    {one, of("SEV1", 12, 14, 15, 33, 48), unknown, of("SEV2", 0, 4, 6, 20, 95), of("SEV3", 5, 30, 60, 150, 200), drill},
		"one":      {one},
		"a month":  {one, month},
		"going on": {of("SEV?", 0, 1, -1, -1, -1)},
	} {
		data, err := stats.Summarize(records).Chart("Incidents, last 90 days")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if dir := os.Getenv("OPSBOT_TEST_SCREENSHOTS"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, "stats-"+name+".png"), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		img, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// The bars are there: their colors are in it.
		found := map[[3]uint32]bool{}
		size := img.Bounds()
		for y := size.Min.Y; y < size.Max.Y; y++ {
			for x := size.Min.X; x < size.Max.X; x++ {
				r, g, b, _ := img.At(x, y).RGBA()
				found[[3]uint32{r >> 8, g >> 8, b >> 8}] = true
			}
		}
		want := map[string][3]uint32{"SEV1": {0xb4, 0x23, 0x18}, "SEV2": {0xc7, 0x6a, 0x00}, "SEV3": {0x2f, 0x6f, 0xb0}}
		for _, r := range records {
			if c, known := want[r.Severity]; known && !found[c] {
				t.Errorf("%s: no bar of %s", name, r.Severity)
			}
		}
	}
}
