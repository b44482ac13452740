package adapter_test

import (
	"testing"

	"github.com/seglog/seglog/engine"
)

// TestTenThousandAppends is the original's own test, of every backend.
func TestTenThousandAppends(t *testing.T) {
	const last = 10_000
	for _, kind := range []engine.BackendKind{engine.BackendMemory, engine.BackendSegment, engine.BackendFile, engine.BackendSQLite} {
		t.Run(string(kind), func(t *testing.T) {
			log, topic := newLog(t, kind), engine.MustTopic("trigger.inbox")
			for want := engine.EventID(1); want <= last; want++ {
				id, err := log.Append(t.Context(), topic, number(want))
				check(t, err)
				if id != want {
					t.Fatalf("append %d gave id %d", want, id)
				}
			}
			records, err := engine.ReadRange(t.Context(), log, topic, 0, engine.NoLimit)
			check(t, err)
			if len(records) != last || records[0].ID != 1 || records[last-1].ID != last {
				t.Fatalf("read %d events, want those from 1 to %d", len(records), last)
			}
		})
	}
}
