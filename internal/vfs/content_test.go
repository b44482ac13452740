package vfs

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestContentIsWhatWasDoneToIt(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	type pair struct {
		got  content
		want []byte
	}
	all := []pair{{}}
	for range 1000 {
		p := &all[rng.IntN(len(all))]
		off, n := rng.IntN(5*pageSize), rng.IntN(2*pageSize)
		switch rng.IntN(5) {
		case 0:
			p.got.truncate(int64(off))
			p.want = append(p.want[:min(off, len(p.want)):min(off, len(p.want))], make([]byte, max(0, off-len(p.want)))...)
		case 1:
			if len(all) < 8 {
				all = append(all, pair{p.got.clone(), bytes.Clone(p.want)})
			}
		default:
			data := bytes.Repeat([]byte{byte(rng.IntN(3))}, n)
			p.got.writeAt(data, int64(n), int64(off))
			if n > 0 {
				p.want = append(p.want, make([]byte, max(0, off+n-len(p.want)))...)
				p.want = bytes.Clone(p.want)
				copy(p.want[off:], data)
			}
		}
		for i := range all {
			if !bytes.Equal(all[i].got.bytes(), all[i].want) {
				t.Fatalf("content %d differs", i)
			}
		}
	}
}
