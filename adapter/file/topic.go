package file

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"sync"

	"github.com/seglog/seglog/engine"
	"github.com/seglog/seglog/internal/vfs"
)

// topic is one topic, also one that nobody has appended to yet.
type topic struct {
	name    engine.Topic
	loading sync.Mutex // held while the file is scanned; before mu

	// Guarded by committer.mu.
	assigned engine.EventID // by groups that are not finished
	groups   int            // that are not finished
	write    *write         // its part of the group writeIn
	writeIn  *group

	mu      sync.Mutex // guards the fields below
	stem    string     // its file's name without the suffix; "": it has none yet
	clash   error      // its name stands for two files
	loaded  bool
	view    view
	changed chan struct{} // closed when subscribers should look again; nil: nobody waits
}

// view is what readers may see of a topic. It is copied: marks below len never
// change.
type view struct {
	first, latest engine.EventID // latest+1, latest: the topic is empty
	end           int64          // offset behind the last line
	marks         []mark         // of the file's lines, sparse, rising
	file          int            // rises when the file is another one
	broken        *engine.CorruptError

	size     int64 // the file's; more than end: a torn write, to be cut off
	unended  bool  // the last line has no newline
	unsynced bool  // what is visible may be lost

	// Of a read-only log: what was there when it last looked.
	seenBytes int64
	seenSeq   uint64 // of the journal's frame, before the file was opened
	newestSeq uint64 // of the journal's frame, after it was measured
}

// mark is where an event's line begins.
type mark struct {
	id     engine.EventID
	offset int64
}

// markBytes is how far marks are apart at least.
const markBytes = 16 << 10

// addMark notes a line's place if it is far enough from the last one.
func (v *view) addMark(id engine.EventID, offset int64) {
	if n := len(v.marks); n == 0 || offset-v.marks[n-1].offset >= markBytes {
		v.marks = append(v.marks, mark{id, offset})
	}
}

// find returns the last mark at or before id.
func (v *view) find(id engine.EventID) mark {
	i := sort.Search(len(v.marks), func(i int) bool { return v.marks[i].id > id })
	if i == 0 {
		return mark{}
	}
	return v.marks[i-1]
}

// bare says whether there is neither an event nor damage.
func (v *view) bare() bool {
	return v.broken == nil && (v.latest == 0 || v.latest < v.first)
}

// snapshot returns the topic's view, and loads it first.
func (l *Log) snapshot(t *topic) (view, error) {
	if err := l.load(t); err != nil {
		return view{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.view, nil
}

// load scans the topic's file, once. A read-only log brings it up to date.
func (l *Log) load(t *topic) error {
	t.mu.Lock()
	loaded, clash := t.loaded, t.clash
	t.mu.Unlock()
	switch {
	case clash != nil:
		return clash
	case l.opts.ReadOnly:
		return l.follow(t)
	case loaded:
		return nil
	}
	t.loading.Lock()
	defer t.loading.Unlock()
	t.mu.Lock()
	loaded, stem := t.loaded, t.stem
	t.mu.Unlock()
	if loaded {
		return nil
	}
	v := view{first: 1}
	var err error
	if stem != "" {
		v, err = l.scanTopic(t.name, stem, l.left.proven(stem))
	}
	if err == nil && v.bare() {
		var acked engine.EventID
		acked, err = l.cursors.highest(t.name)
		v.latest = max(v.latest, acked)
		v.first = v.latest + 1
	}
	if err != nil {
		return fmt.Errorf("load topic %s: %w", t.name, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.view, t.loaded = v, true
	return nil
}

// scanTopic reads a topic's file and head.
func (l *Log) scanTopic(name engine.Topic, stem string, proven int64) (view, error) {
	head, err := readHead(l.fs, stem)
	if err != nil {
		return view{}, err
	}
	var v view
	h, err := l.files.acquire(stem)
	if err == nil {
		defer l.files.release(h)
		if v.size, err = h.Size(); err == nil {
			err = scan(h, name, stem, &v, proven)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if v.latest == 0 && v.broken == nil { // no event: the head knows
		v.latest = head.Latest
		v.first = v.latest + 1
	}
	return v, err
}

// scan goes on from v.end up to v.size, and adds to v what it finds. A line that
// does not parse is a torn write if it is the last one and lacks its newline. So
// is any one that is not before proven, the end of what was durable, and nothing
// counts that follows it. Else it is corruption.
func scan(f io.ReaderAt, name engine.Topic, stem string, v *view, proven int64) error {
	lines := newLineReader(f, v.end, v.size)
	for v.broken == nil {
		line, at, whole, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var bad error
		switch {
		case errors.Is(err, errLongLine):
			bad = err
		case err != nil:
			return fmt.Errorf("read %s at offset %d: %w", topicFile(stem), at, err)
		case whole && isBlank(line):
			v.end, v.unended = lines.offset, false
			continue
		default:
			bad = v.add(line, at)
		}
		if bad == nil {
			v.end, v.unended = lines.offset, !whole
			continue
		}
		if at >= proven || !whole && errors.Is(bad, errNotRecord) {
			return nil
		}
		v.broken = &engine.CorruptError{Topic: name.String(), File: topicFile(stem), Offset: at, Reason: bad.Error()}
		if v.latest == 0 {
			v.first = 1
		}
	}
	return nil
}

// add takes a line for the next event.
func (v *view) add(line []byte, at int64) error {
	id, err := lineID(line)
	if err != nil {
		return err
	}
	if v.latest > 0 && id != v.latest+1 {
		return fmt.Errorf("event %d, want event %d", id, v.latest+1)
	}
	if v.latest == 0 {
		v.first = id
	}
	v.addMark(id, at)
	v.latest = id
	return nil
}

// lineReader reads the lines of a part of a file.
type lineReader struct {
	in     *bufio.Reader
	offset int64  // behind the last line
	long   []byte // a line that the buffer cannot hold
}

const (
	readBytes    = 64 << 10
	maxLineBytes = 1 << 30
)

var errLongLine = fmt.Errorf("%w: longer than %d bytes", errNotRecord, maxLineBytes)

func newLineReader(f io.ReaderAt, from, to int64) *lineReader {
	r := &lineReader{in: bufio.NewReaderSize(nil, readBytes)}
	r.reset(f, from, to)
	return r
}

// reset has r go on somewhere else.
func (r *lineReader) reset(f io.ReaderAt, from, to int64) {
	r.in.Reset(io.NewSectionReader(f, from, max(0, to-from)))
	r.offset = from
}

// next returns a line without its newline, and where it begins; it is valid
// until the next call. The last one may not be whole. Behind it comes io.EOF.
func (r *lineReader) next() (line []byte, at int64, whole bool, err error) {
	at = r.offset
	line, err = r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		r.long = append(r.long[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.in.ReadSlice('\n')
			if r.long = append(r.long, line...); len(r.long) > maxLineBytes {
				r.offset += int64(len(r.long))
				return nil, at, false, errLongLine
			}
		}
		line = r.long
	}
	r.offset += int64(len(line))
	if err == nil {
		return line[:len(line)-1], at, true, nil
	}
	if errors.Is(err, io.EOF) && len(line) > 0 {
		return line, at, false, nil
	}
	return nil, at, false, err
}

// wakeLocked has subscribers look again. The caller holds t.mu.
func (t *topic) wakeLocked() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// waitLocked returns a channel that is closed when to look again.
func (t *topic) waitLocked() <-chan struct{} {
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.changed
}

// head is what a topic's file cannot say: whose it is where its name does not
// spell it, and the latest id where no line is left.
type head struct {
	Topic  string         `json:"topic"`
	Latest engine.EventID `json:"latest"`
}

// readHead returns the zero head where there is none.
func readHead(disk vfs.FS, stem string) (h head, err error) {
	b, err := readSmall(disk, headFile(stem))
	if errors.Is(err, fs.ErrNotExist) {
		return head{}, nil
	}
	if err != nil {
		return head{}, fmt.Errorf("read %s: %w", headFile(stem), err)
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return head{}, &engine.CorruptError{File: headFile(stem), Reason: err.Error()}
	}
	if h.Latest > lastID {
		return head{}, &engine.CorruptError{File: headFile(stem), Reason: fmt.Sprintf("latest is %d, ids end at %d", h.Latest, lastID)}
	}
	return h, nil
}

// writeHead is durable when it returns.
func (l *Log) writeHead(stem string, h head) error {
	b, err := json.Marshal(h)
	if err != nil {
		panic("file: head: " + err.Error()) // a name and a number
	}
	return writeNew(l.fs, headsDir, headTemp, headFile(stem), func(f vfs.File) error {
		_, err := f.WriteAt(append(b, '\n'), 0)
		return err
	})
}

// smallBytesMax bounds the files that are read whole.
const smallBytesMax = 1 << 20

func readSmall(disk vfs.FS, name string) ([]byte, error) {
	f, err := disk.OpenRead(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > smallBytesMax {
		return nil, &engine.CorruptError{File: name, Reason: fmt.Sprintf("has %d bytes, want at most %d", size, smallBytesMax)}
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	return b[:n], ignoreEOF(err)
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
