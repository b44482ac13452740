package wal

import (
	"fmt"
	"testing"

	"github.com/seglog/seglog/internal/vfs"
)

// BenchmarkWriteSync is a commit: one frame of a group of records of 300
// bytes, one sync.
func BenchmarkWriteSync(b *testing.B) {
	for _, group := range []int{1, 64} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			dir, err := vfs.Dir(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer dir.Close()
			w, err := NewWriter(Config{FS: dir, UUID: testUUID}, ScanResult{})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			record := payload(1, 300)
			var buf Buffer
			b.SetBytes(int64(group * len(record)))
			b.ReportAllocs()
			for b.Loop() {
				buf.Reset()
				for range group {
					copy(buf.Extend(len(record)), record)
					buf.AddRecord()
				}
				if _, _, err := w.Write(&buf, Header{}, false); err != nil {
					b.Fatal(err)
				}
				if err := w.Sync(); err != nil {
					b.Fatal(err)
				}
				if w.Used() > w.cfg.MaxBytes/2 {
					if err := w.Free(w.Position()); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
