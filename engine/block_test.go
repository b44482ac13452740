package engine

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seglog/seglog/index"
)

// TestBlocksHaveTheirSize fills blocks of a segment and of a carry file, with
// the default size and with one that was asked for.
func TestBlocksHaveTheirSize(t *testing.T) {
	for _, tt := range []struct {
		name             string
		asked            int
		segment, carried uint32
	}{{"default", 0, 8 << 10, 16 << 10}, {"asked for", 12 << 10, 12 << 10, 12 << 10}} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Open(t.TempDir(), Options{BlockBytes: tt.asked, Compression: CompressionNone})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			event := Event{Kind: "k", Payload: json.RawMessage(`"` + strings.Repeat("a", 98) + `"`)}
			events := make([]Event, 4000)
			for i := range events {
				events[i] = event
			}
			big, small := MustTopic("big"), MustTopic("small")
			for topic, n := range map[Topic]int{big: 4000, small: 400} {
				if _, _, err := e.AppendBatch(t.Context(), topic, events[:n]); err != nil {
					t.Fatal(err)
				}
			}
			if err := e.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			var segment, carried uint32
			e.topic(big).disk.Load().index.Snapshot().Ascend(0, func(n index.Entry) bool {
				segment = max(segment, n.Raw)
				return true
			})
			for _, c := range e.topic(small).disk.Load().meta.carried {
				carried = max(carried, c.Raw)
			}
			if segment > tt.segment || segment < tt.segment*9/10 {
				t.Errorf("blocks of the segment have up to %d bytes, want nearly %d", segment, tt.segment)
			}
			if carried > tt.carried || carried < tt.carried*9/10 {
				t.Errorf("blocks of the carry file have up to %d bytes, want nearly %d", carried, tt.carried)
			}
		})
	}
}
