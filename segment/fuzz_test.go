package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// refused reports whether err is what hostile bytes may lead to.
func refused(err error) bool {
	var c *CorruptError
	return errors.As(err, &c) || errors.Is(err, ErrVersion)
}

// FuzzBlock gives hostile bodies, under headers whose checksums are right, to
// the decoders.
func FuzzBlock(f *testing.F) {
	for _, codec := range codecs {
		for _, raw := range [][]byte{nil, text(3), text(500), noise(200), make([]byte, 100_000)} {
			body, stored := appendBody(nil, raw, codec)
			f.Add(byte(stored), uint32(len(raw)), xxhash.Sum64(raw), body)
			f.Add(byte(codec), uint32(len(raw)+1), xxhash.Sum64(raw), body)
			f.Add(byte(codec), uint32(len(raw)), xxhash.Sum64(raw), body[:len(body)/2])
		}
	}
	f.Fuzz(func(t *testing.T, codec byte, rawBytes uint32, rawSum uint64, body []byte) {
		b := nextBlock(topicFile, nil)
		b.Offset = PageBytes
		b.Raw = rawBytes % (4 << 20)
		b.Stored = blockHeaderBytes + uint32(len(body))
		b.Checksum = xxhash.Sum64(body)
		file := append(appendPage(nil, topicFile), make([]byte, blockHeaderBytes)...)
		putBlockHeader(file[PageBytes:], topicFile, topicFile.seed(), b, bodyFacts{Codec(codec), rawSum})
		file = append(file, body...)
		raw, err := inMemory(file, topicFile).Read(b, new(Buffer))
		if err != nil && !refused(err) {
			t.Fatal(err)
		}
		if err == nil && (len(raw) != int(b.Raw) || xxhash.Sum64(raw) != rawSum) {
			t.Fatalf("read %d bytes with checksum %016x, want %d with %016x", len(raw), xxhash.Sum64(raw), b.Raw, rawSum)
		}
	})
}

// FuzzFooter gives hostile entries, in a footer whose checksums are right, to
// the parser.
func FuzzFooter(f *testing.F) {
	var entries []byte
	end := int64(PageBytes)
	var blocks []Block
	for range 3 {
		b := nextBlock(topicFile, blocks)
		b.Offset, b.Raw, b.Stored = end, 200, 300
		blocks = append(blocks, b)
		entries = appendFooterEntry(entries, b)
		f.Add(end, bytes.Clone(entries))
		end = b.end()
	}
	f.Add(int64(1)<<62, entries)
	f.Add(int64(0), []byte{})
	f.Fuzz(func(t *testing.T, offset int64, entries []byte) {
		offset = max(PageBytes, offset&^(PageBytes-1))
		entries = entries[:len(entries)/footerEntryBytes*footerEntryBytes]
		seed := topicFile.seed()
		p, _ := appendFooter(nil, topicFile, seed, offset, make([]Block, len(entries)/footerEntryBytes))
		copy(p[footerHeaderBytes:], entries)
		trailer := p[len(p)-footerTrailerBytes:]
		binary.LittleEndian.PutUint64(trailer[16:], seededSum(seed, p[:len(p)-footerTrailerBytes]))
		list, footer, err := parseFooter(p, topicFile, seed, offset)
		if err != nil {
			return
		}
		if again, f := appendFooter(nil, topicFile, seed, offset, list.Blocks()); f != footer || !bytes.Equal(again, p) {
			t.Fatalf("footer %x parses to %+v, which is written as %x", p, list.Blocks(), again)
		}
		if end, err := list.check(topicFile, offset); err != nil || end > offset {
			t.Fatalf("blocks end at %d, %v", end, err)
		}
	})
}

// FuzzFile reads any bytes as a file in all ways.
func FuzzFile(f *testing.F) {
	var blocks []Block
	file := appendPage(nil, topicFile)
	f.Add(bytes.Clone(file))
	for i, codec := range codecs {
		raw := text(200 * (i + 1))
		b := nextBlock(topicFile, blocks)
		at := len(file)
		p, stored := appendBody(append(file, make([]byte, blockHeaderBytes)...), raw, codec)
		file = p
		body := file[at+blockHeaderBytes:]
		b.Offset, b.Raw, b.Stored, b.Checksum = int64(at), uint32(len(raw)), uint32(len(file)-at), xxhash.Sum64(body)
		putBlockHeader(file[at:][:blockHeaderBytes], topicFile, topicFile.seed(), b, bodyFacts{stored, xxhash.Sum64(raw)})
		blocks = append(blocks, b)
		f.Add(bytes.Clone(file))
	}
	file = append(file, make([]byte, alignUp(int64(len(file)))-int64(len(file)))...)
	file, _ = appendFooter(file, topicFile, topicFile.seed(), int64(len(file)), blocks)
	f.Add(bytes.Clone(file))
	file[5000] ^= 1
	f.Add(file)
	f.Fuzz(func(t *testing.T, file []byte) {
		r := inMemory(file, topicFile)
		size := int64(len(file))
		var buf Buffer
		read := func(b Block) error {
			if raw, err := r.Read(b, &buf); err != nil && !refused(err) || err == nil && len(raw) != int(b.Raw) {
				t.Fatal(err)
			}
			return nil
		}
		if err := r.Walk(size, read); err != nil && !refused(err) {
			t.Fatal(err)
		}
		end := int64(-1)
		err := r.WalkSalvage(size, read, func(c *CorruptError) error {
			if c.Offset <= end && end != -1 {
				t.Fatalf("damage at %d reported behind %d", c.Offset, end)
			}
			end = c.Offset
			return nil
		})
		if err != nil && !refused(err) {
			t.Fatal(err)
		}
		if footer, err := r.FindFooter(size); err == nil {
			if _, err := r.Footer(footer, size); err != nil && !refused(err) {
				t.Fatal(err)
			}
		}
	})
}
