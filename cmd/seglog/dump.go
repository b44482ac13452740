package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/segment"
	"github.com/seglog/seglog/wal"
)

func newDump(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "dump FILE",
		Short: "Print what one of a segmented log's files holds",
		Long: `dump prints the parts of one file of a segmented log, for finding out what went
wrong: the frames of a write-ahead log file, the blocks of a segment or carry
file, each with its place, or what a manifest says of topics and files. It needs
nothing but the file, takes any name, and goes on behind what does not verify;
with damage it exits with status 3.

Whether bytes at a file's end are damage or the rest of a write that was cut
short is often not to be seen from the file alone; verify knows. The events are
printed by read.`,
		Example: `  seglog dump .harn/events.seglog/wal-0000000000000001
  seglog dump seg/*.seg --json | jq .first_id`,
		Args: exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.dump(a.env.absolute(args[0]))
		},
	}
}

// Where the header pages say what a file is: see wal/FORMAT.md and
// segment/FORMAT.md.
const (
	headBytes = 128

	walFileMagic  = "SLWH"
	walFrameMagic = "SLWF"
	segmentMagic  = "seglogS\n"
	manifestMagic = "SGLGMAN1"
)

func (a *app) dump(path string) error {
	dir, err := vfs.Dir(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("dump %s: %w", path, err)
	}
	defer dir.Close()
	d := dumper{print: a.print, fs: oneFile{FS: dir, file: filepath.Base(path)}}
	head, err := d.fs.head()
	if err != nil {
		return fmt.Errorf("dump %s: %w", path, err)
	}
	name := d.fs.file
	switch {
	case bytes.HasPrefix(head, []byte(walFileMagic)):
		err = d.wal(head)
	case bytes.HasPrefix(head, []byte(segmentMagic)) && len(head) == headBytes:
		err = d.segment(head)
	case bytes.HasPrefix(head, []byte(manifestMagic)), strings.HasPrefix(name, "manifest-"):
		err = d.manifest(head)
	case strings.HasPrefix(name, "wal-"):
		err = d.brokenWAL()
	default:
		err = fmt.Errorf("it begins with %.8q: not a write-ahead log file, a segment, a carry file or a manifest", head)
	}
	if err != nil {
		return fmt.Errorf("dump %s: %w", path, err)
	}
	if d.damaged {
		return errDamage
	}
	return nil
}

// oneFile is a directory with one file, which answers to any name: a copy of a
// file need not be called what the original was.
type oneFile struct {
	vfs.FS
	file string
	as   string // the name that it is listed by
}

func (o oneFile) OpenRead(string) (vfs.File, error) { return o.FS.OpenRead(o.file) }

func (o oneFile) ReadDir(string) ([]vfs.Entry, error) {
	e, err := o.FS.Stat(o.file)
	if err != nil {
		return nil, err
	}
	e.Name = o.as
	return []vfs.Entry{e}, nil
}

// head is the beginning of the file, shorter only where the file is.
func (o oneFile) head() ([]byte, error) { return o.at(0) }

func (o oneFile) at(offset int64) ([]byte, error) {
	f, err := o.OpenRead(o.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, headBytes)
	n, err := f.ReadAt(b, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

// dumper prints one file.
type dumper struct {
	print   *printer
	fs      oneFile
	damaged bool
}

// wal prints a write-ahead log file whose header page is there.
func (d *dumper) wal(head []byte) error {
	if len(head) < headBytes {
		return d.damage(0, fmt.Sprintf("file has %d bytes, fewer than a header", len(head)))
	}
	le := binary.LittleEndian
	start := wal.Start{LSN: wal.LSN(le.Uint64(head[40:])), Generation: le.Uint64(head[24:])}
	d.fs.as = fmt.Sprintf("wal-%016x", le.Uint64(head[56:]))
	return d.frames([16]byte(head[8:24]), start)
}

// brokenWAL prints a write-ahead log file without its header page: the frames
// know the log as well.
func (d *dumper) brokenWAL() error {
	d.fs.as = d.fs.file
	for offset := int64(wal.PageBytes); ; offset += wal.PageBytes {
		b, err := d.fs.at(offset)
		if err != nil {
			return err
		}
		if len(b) < headBytes {
			return d.print.row(fileRow{File: d.fs.file, Type: "wal", Note: "no header page and no frame: never used"})
		}
		if bytes.HasPrefix(b, []byte(walFrameMagic)) {
			if err := d.damage(0, "header page is not there"); err != nil {
				return err
			}
			return d.frames([16]byte(b[8:24]), wal.Start{})
		}
	}
}

func (d *dumper) frames(uuid [16]byte, start wal.Start) error {
	file := fileRow{File: d.fs.as, Type: "wal", UUID: hex.EncodeToString(uuid[:]), Generation: start.Generation, LSN: start.LSN}
	if err := d.about(file, frameTitles); err != nil {
		return err
	}
	result, err := wal.Scan(wal.Config{FS: d.fs, UUID: uuid}, start, wal.ScanOptions{Salvage: true}, func(f wal.Frame) error {
		return d.print.row(frameRow{
			Type: "frame", Offset: f.Offset, LSN: f.Start, End: f.End, Durable: f.Durable, Generation: f.Generation,
			Flags: flagsText(f.Flags), Position: f.Position, Records: f.Records, PayloadBytes: len(f.Payload),
			ManifestGen: f.ManifestGen, ManifestLen: f.ManifestLen,
		})
	})
	if err != nil {
		return err
	}
	for _, c := range result.Damage {
		if err := d.damage(c.Offset, c.Reason); err != nil {
			return err
		}
	}
	if result.TornBytes == 0 {
		return nil
	}
	return d.note(noteRow{"torn", result.TornOffset, fmt.Sprintf("%d bytes of a write that was cut short, or damage", result.TornBytes)})
}

// segment prints a segment or the carry file.
func (d *dumper) segment(head []byte) error {
	le := binary.LittleEndian
	id := segment.Identity{
		UUID: [16]byte(head[16:32]), Incarnation: le.Uint32(head[12:]),
		Topic: le.Uint64(head[32:]), ID: le.Uint64(head[40:]), Base: le.Uint64(head[48:]),
	}
	file := fileRow{File: segment.FileName(id), Type: "segment", UUID: hex.EncodeToString(id.UUID[:]), Segment: id.ID, Topic: id.Topic, Base: id.Base}
	if id.Topic == 0 {
		file.Type = "carry"
	}
	if err := d.about(file, blockTitles); err != nil {
		return err
	}
	r, err := segment.OpenReader(d.fs, id)
	if err != nil {
		return err
	}
	defer r.Close() // read only
	entry, err := d.fs.Stat(d.fs.file)
	if err != nil {
		return err
	}
	var buffer segment.Buffer
	block := func(b segment.Block) error { return d.block(r, b, &buffer) }
	return r.WalkSalvage(entry.Size, block, func(c *segment.CorruptError) error { return d.corrupt(c) })
}

// block prints a block once its body was read, so that it is known to verify.
func (d *dumper) block(r *segment.Reader, b segment.Block, buffer *segment.Buffer) error {
	_, err := r.Read(b, buffer)
	var c *segment.CorruptError
	if err != nil && !errors.As(err, &c) {
		return err
	}
	row := blockRow{
		Type: "block", Offset: b.Offset, StoredBytes: b.Stored, RawBytes: b.Raw, Topic: b.Topic, Incarnation: b.Incarnation,
		FirstID: b.First, LastID: b.Last, FirstPosition: b.FirstPosition, LastPosition: b.LastPosition,
		MinTimeMS: b.MinTime, MaxTimeMS: b.MaxTime,
	}
	if err := d.print.row(row); err != nil {
		return err
	}
	if c == nil {
		return nil
	}
	return d.corrupt(c)
}

func (d *dumper) corrupt(c *segment.CorruptError) error {
	return d.damage(c.Offset, c.Reason)
}

func (d *dumper) damage(offset int64, reason string) error {
	d.damaged = true
	return d.note(noteRow{"damage", offset, reason})
}

// note prints a place that is no part; on a terminal outside the table, whose
// columns are for parts.
func (d *dumper) note(n noteRow) error {
	if d.print.json {
		return d.print.row(n)
	}
	if err := d.print.flush(); err != nil {
		return err
	}
	return d.print.line(fmt.Sprintf("%d  %s: %s", n.Offset, n.Type, printable(n.Reason)))
}

// about prints what the file is, and begins the table of its parts.
func (d *dumper) about(file aboutRow, titles []string) error {
	if d.print.json {
		return d.print.row(file)
	}
	if err := d.print.pairs(file.pairs()); err != nil {
		return err
	}
	d.print.titles = append([]string(nil), titles...)
	return nil
}

// aboutRow says what a file is.
type aboutRow interface {
	row
	pairs() []pairRow
}

// fileRow is what a file says of itself.
type fileRow struct {
	Type       string  `json:"type"`
	File       string  `json:"file"` // its proper name
	UUID       string  `json:"uuid,omitempty"`
	Generation uint64  `json:"generation,omitempty"`
	LSN        wal.LSN `json:"lsn,omitempty"`
	Segment    uint64  `json:"segment,omitempty"`
	Topic      uint64  `json:"topic_number,omitempty"`
	Base       uint64  `json:"base_id,omitempty"`
	Note       string  `json:"note,omitempty"`
}

func (r fileRow) pairs() []pairRow {
	pairs := []pairRow{{r.Type, r.File}, {"log", r.UUID}}
	if r.Type == "wal" {
		return append(pairs, pairRow{"generation", decimal(r.Generation)}, pairRow{"first lsn", decimal(uint64(r.LSN))})
	}
	pairs = append(pairs, pairRow{"segment", decimal(r.Segment)})
	if r.Type == "carry" {
		return pairs
	}
	return append(pairs, pairRow{"topic number", decimal(r.Topic)}, pairRow{"first id", decimal(r.Base)})
}

func (r fileRow) cells() []string { return []string{r.File, r.Note} }

// frameRow is a frame of the write-ahead log.
type frameRow struct {
	Type         string  `json:"type"`
	Offset       int64   `json:"offset"`
	LSN          wal.LSN `json:"lsn"`
	End          wal.LSN `json:"end"`
	Durable      wal.LSN `json:"durable"`
	Generation   uint64  `json:"generation"`
	Flags        string  `json:"flags"`
	Position     uint64  `json:"position"`
	Records      uint32  `json:"records"`
	PayloadBytes int     `json:"payload_bytes"`
	ManifestGen  uint64  `json:"manifest_generation"`
	ManifestLen  int64   `json:"manifest_bytes"`
}

var frameTitles = []string{"OFFSET", "LSN", "DURABLE", "POSITION", "RECORDS", "BYTES", "MANIFEST", "FLAGS"}

func (r frameRow) cells() []string {
	return []string{
		strconv.FormatInt(r.Offset, 10), decimal(uint64(r.LSN)), decimal(uint64(r.Durable)), decimal(r.Position),
		decimal(uint64(r.Records)), strconv.Itoa(r.PayloadBytes), fmt.Sprintf("%d:%d", r.ManifestGen, r.ManifestLen), r.Flags,
	}
}

func flagsText(flags wal.Flags) string {
	var names []string
	for _, f := range []struct {
		flag wal.Flags
		name string
	}{{wal.FlagSeal, "seal"}, {wal.FlagClean, "clean"}, {wal.FlagRecovered, "recovered"}} {
		if flags&f.flag != 0 {
			names = append(names, f.name)
			flags &^= f.flag
		}
	}
	if flags != 0 {
		names = append(names, fmt.Sprintf("%#x", uint16(flags)))
	}
	return strings.Join(names, " ")
}

// blockRow is a block of a segment or of the carry file.
type blockRow struct {
	Type          string `json:"type"`
	Offset        int64  `json:"offset"`
	StoredBytes   uint32 `json:"stored_bytes"`
	RawBytes      uint32 `json:"raw_bytes"`
	Topic         uint64 `json:"topic_number"`
	Incarnation   uint32 `json:"incarnation"`
	FirstID       uint64 `json:"first_id"`
	LastID        uint64 `json:"last_id"`
	FirstPosition uint64 `json:"first_position"`
	LastPosition  uint64 `json:"last_position"`
	MinTimeMS     int64  `json:"min_time_ms"`
	MaxTimeMS     int64  `json:"max_time_ms"`
}

var blockTitles = []string{"OFFSET", "STORED", "RAW", "TOPIC", "EVENTS", "POSITIONS", "TIMES"}

func (r blockRow) cells() []string {
	return []string{
		strconv.FormatInt(r.Offset, 10), decimal(uint64(r.StoredBytes)), decimal(uint64(r.RawBytes)),
		fmt.Sprintf("%d.%d", r.Topic, r.Incarnation), fmt.Sprintf("%d..%d", r.FirstID, r.LastID),
		fmt.Sprintf("%d..%d", r.FirstPosition, r.LastPosition), timeText(r.MinTimeMS) + ".." + timeText(r.MaxTimeMS),
	}
}

// noteRow is a place that is not a part of the file as it should be.
type noteRow struct {
	Type   string `json:"type"`
	Offset int64  `json:"offset"`
	Reason string `json:"reason"`
}

func (r noteRow) cells() []string { return nil }

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
