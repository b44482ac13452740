package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/seglog/seglog/cursor"
	"github.com/seglog/seglog/index"
	"github.com/seglog/seglog/internal/vfs"
	"github.com/seglog/seglog/segment"
	"github.com/seglog/seglog/wal"
)

// OpenReport says what opening a log found and did.
type OpenReport struct {
	// Created: there was no log, and now there is.
	Created bool `json:"created"`
	// Clean: the log was closed in order, and nothing had to be replayed.
	Clean bool `json:"clean"`
	// Frames and Events were replayed from the write-ahead log.
	Frames int    `json:"frames"`
	Events uint64 `json:"events"`
	// TornBytes of TornFile, from TornOffset on, were an incomplete commit that
	// was never acknowledged; it was dropped.
	TornBytes  int64  `json:"torn_bytes"`
	TornFile   string `json:"torn_file,omitempty"`
	TornOffset int64  `json:"torn_offset,omitempty"`
	// Unknown files are in the directory and not part of the log. They are
	// left alone.
	Unknown []string `json:"unknown,omitempty"`
	// Damage is what does not verify; only a log that was opened read-only can
	// have some.
	Damage []*CorruptError `json:"damage,omitempty"`
}

// OpenReport says what opening the log found and did.
func (e *Engine) OpenReport() OpenReport {
	if f := e.follower; f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	r := e.report
	r.Unknown, r.Damage = slices.Clone(r.Unknown), slices.Clone(r.Damage)
	return r
}

const (
	lockName    = "LOCK"
	segmentDir  = "seg"
	reserveName = "reserve"
)

// openWriter locks the log, recovers it, and makes it ready for changes.
func (e *Engine) openWriter() error {
	lock, err := e.env.FS.Lock(lockName)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	e.lock = lock
	entries, err := e.env.FS.ReadDir(".")
	if err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	l, newest, err := e.findManifest(entries)
	if err != nil {
		return err
	}
	if l == nil {
		return e.create(newest)
	}
	e.adopt(&l.manifest, newest)
	e.loadState()
	scan, err := e.replay(l, wal.ScanOptions{MaxFrameBytes: maxFrameBytes}, nil)
	if err != nil {
		return err
	}
	if err := e.checkTail(l, &scan); err != nil {
		return err
	}
	if e.wal, err = wal.NewWriter(e.walConfig(), scan); err != nil {
		return fmt.Errorf("write-ahead log: %w", err)
	}
	e.published = e.wal.Position()
	if l.endsClean(newest, &scan) {
		e.report.Clean, e.writers.clean = true, true
		return e.reopenManifest(l)
	}
	return e.recoverDirty(entries, &scan)
}

// maxFrameBytes bounds what a frame from disk may make us allocate.
const maxFrameBytes = 1<<30 + 64<<20

func (e *Engine) walConfig() wal.Config {
	return wal.Config{
		FS: e.env.FS, UUID: e.uuid, MaxBytes: e.opts.WALBytes, FileBytes: e.opts.walFileBytes(),
		ReserveBytes: e.opts.walReserveBytes(), Direct: e.opts.Sync == SyncAlways, Packed: e.opts.Sync != SyncAlways, Rand: e.env.Rand,
	}
}

// findManifest reads the newest manifest that has a snapshot. Nil: there is no
// log here yet. Newest is the highest generation that a file has.
func (e *Engine) findManifest(entries []vfs.Entry) (l *loadedManifest, newest uint64, err error) {
	gens := manifestGens(entries)
	for _, gen := range gens {
		newest = max(newest, gen)
		l, err := readManifest(e.env.FS, gen)
		if err != nil {
			return nil, 0, err
		}
		if l.seq > 0 {
			return l, newest, nil
		}
	}
	for _, x := range entries {
		if strings.HasPrefix(x.Name, "wal-") || strings.HasPrefix(x.Name, "carry-") {
			name := "manifest"
			if len(gens) > 0 {
				name = manifestName(gens[0])
			}
			return nil, 0, &CorruptError{File: name, Reason: fmt.Sprintf("no manifest is readable, but there is %s", x.Name)}
		}
	}
	return nil, newest, nil
}

// create makes a new log. A crash before the manifest is durable leaves
// nothing that the next open would mind.
func (e *Engine) create(newest uint64) error {
	fs := e.env.FS
	if err := fs.Mkdir(segmentDir); err != nil && !errors.Is(err, errExist) {
		return fmt.Errorf("make directory %s: %w", segmentDir, err)
	}
	if err := fs.SyncDir("."); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	binary.LittleEndian.PutUint64(e.uuid[:8], e.env.Rand())
	binary.LittleEndian.PutUint64(e.uuid[8:], e.env.Rand())
	m, err := createManifest(fs, newest+1, newManifestState(e.uuid))
	if err != nil {
		return err
	}
	e.report.Created = true
	e.adopt(m, newest+1)
	if e.wal, err = wal.NewWriter(e.walConfig(), wal.ScanResult{}); err != nil {
		return fmt.Errorf("write-ahead log: %w", err)
	}
	e.published = e.wal.Position()
	e.writers.clean = true
	e.makeReserve()
	return nil
}

// adopt takes a manifest as the log's own.
func (e *Engine) adopt(m *manifest, newest uint64) {
	e.manifest = m
	e.uuid = m.state.uuid
	e.noteManifest(m)
	e.writers.manifestGen = newest
	e.writers.next = m.state.nextSegment
}

// reopenManifest makes the manifest of a log that was closed clean ready for
// more edits.
func (e *Engine) reopenManifest(l *loadedManifest) error {
	f, err := e.env.FS.Open(manifestName(l.gen))
	if err != nil {
		return fmt.Errorf("open %s: %w", manifestName(l.gen), err)
	}
	e.manifest.file = f
	return nil
}

// loadState makes the topics that the manifest knows.
func (e *Engine) loadState() {
	s := e.manifest.state
	for _, num := range sortedKeys(s.topics) {
		m := s.topics[num]
		t := newTopicState(m.name, m.place)
		t.created, t.known = true, true
		e.loadTopic(t, m)
		e.addTopic(t)
		e.c.nextTopic = max(e.c.nextTopic, num+1)
		for _, c := range s.cursors.List(num) {
			applyCursor(e.cursors, c)
		}
	}
	e.stats.segmentBytes.Store(s.bytes())
	e.c.nextTopic = max(e.c.nextTopic, s.nextTopic)
	e.visible.Store(s.position)
	e.c.nextPosition = s.position + 1
}

// loadTopic sets what t has on disk.
func (e *Engine) loadTopic(t *topicState, m *topicMeta) {
	t.latest.Store(m.latest)
	t.low.Store(m.low)
	t.assigned, t.assignedLow = m.latest, m.low
	if m.last() > 0 {
		t.disk.Store(newDiskView(m))
	}
}

// newDiskView shows what a manifest says of a topic; segments' blocks are
// loaded when they are needed.
func newDiskView(m *topicMeta) *diskView {
	v := &diskView{meta: m, last: m.last(), gaps: m.gaps()}
	if len(m.segments) == 0 {
		return v
	}
	v.index = index.New()
	lost := m.lost
	for _, s := range m.segments {
		for len(lost) > 0 && lost[0].first < s.first {
			v.index.Add(lost[0].entry())
			lost = lost[1:]
		}
		v.index.Add(spanEntry(s))
	}
	return v
}

// entry keeps the place of lost events between segments in the index, whose ids
// are dense.
func (l *lostEvents) entry() index.Entry {
	return index.Entry{First: l.first, Last: l.last, Segment: l.carry}
}

// gaps are the lost events as readers report them.
func (m *topicMeta) gaps() []gap {
	var gaps []gap
	for _, l := range m.lost {
		gaps = append(gaps, gap{first: l.first, last: l.last, err: &CorruptError{
			File: segment.FileName(segment.Identity{ID: l.carry}), Offset: l.offset, Reason: l.reason,
		}})
	}
	return gaps
}

// replay applies the WAL behind the checkpoint. Nothing is applied before all
// was read and confirm has said so, where it is not nil.
func (e *Engine) replay(l *loadedManifest, o wal.ScanOptions, confirm func() error) (wal.ScanResult, error) {
	for _, num := range sortedKeys(l.state.topics) {
		if err := l.state.topics[num].check(manifestName(l.gen)); err != nil {
			return wal.ScanResult{}, err
		}
	}
	r := &replayer{e: e, salvage: o.Salvage, whole: o.Salvage}
	var read []wal.Frame
	scan, err := wal.Scan(e.walConfig(), l.state.checkpoint, o, func(f wal.Frame) error {
		if err := l.checkEvidence(&f.Header); err != nil && !o.Salvage {
			return err
		}
		l.lastFrame = f.Header
		if confirm != nil {
			f.Keep()
			read = append(read, f)
			return nil
		}
		return r.frame(&f)
	})
	if err == nil && confirm != nil {
		err = confirm()
	}
	for i := 0; i < len(read) && err == nil; i++ {
		err = r.frame(&read[i])
	}
	if err != nil {
		return scan, fmt.Errorf("replay write-ahead log: %w", err)
	}
	e.report.Frames, e.report.Events = scan.Frames, r.events
	e.report.TornBytes, e.report.TornFile, e.report.TornOffset = scan.TornBytes, scan.TornFile, scan.TornOffset
	e.report.Unknown = append(append(e.report.Unknown, scan.Foreign...), scan.Unknown...)
	beyond := e.cursorsBeyond()
	if o.Salvage {
		e.report.Damage = append(append(e.report.Damage, r.lost...), beyond...)
	} else if len(beyond) > 0 {
		return scan, beyond[0]
	}
	return scan, nil
}

// check says whether a topic's facts agree with one another.
func (m *topicMeta) check(file string) error {
	bad := func(format string, args ...any) error {
		return &CorruptError{Topic: m.name.name, File: file, Reason: fmt.Sprintf(format, args...)}
	}
	next, lost := uint64(0), m.lost
	if len(lost) > 0 && lost[0].first < m.firstStored() {
		next = lost[0].first
	}
	passLost := func() {
		for len(lost) > 0 && lost[0].first == next {
			next = lost[0].last + 1
			lost = lost[1:]
		}
	}
	for _, s := range m.segments {
		passLost()
		if next != 0 && s.first != next {
			return bad("segment %d begins at event %d, want %d", s.id.ID, s.first, next)
		}
		next = s.last + 1
	}
	for i := range m.carried {
		c := &m.carried[i]
		passLost()
		if next != 0 && c.First != next {
			return bad("carried block begins at event %d, want %d", c.First, next)
		}
		next = c.Last + 1
	}
	passLost()
	if len(lost) > 0 {
		return bad("events %d to %d are lost, and stored elsewhere", lost[0].first, lost[0].last)
	}
	switch {
	case m.low == 0 || m.low-1 > m.latest:
		return bad("the first event is %d, the latest %d", m.low, m.latest)
	case next == 0 && m.low <= m.latest, next != 0 && next-1 < m.latest && m.low <= m.latest:
		return bad("events up to %d are nowhere, they end at %d", m.latest, m.last())
	case next != 0 && next-1 > m.latest:
		return bad("events end at %d, the latest is %d", next-1, m.latest)
	}
	return nil
}

// checkEvidence compares the manifest with what a WAL frame knows of it.
func (l *loadedManifest) checkEvidence(h *wal.Header) error {
	switch {
	case h.ManifestGen > l.gen:
		return &CorruptError{File: manifestName(h.ManifestGen), Reason: "no snapshot is readable, but the write-ahead log names this manifest"}
	case h.ManifestGen < l.gen:
		return nil
	case h.ManifestLen > l.size:
		return &CorruptError{
			File: manifestName(l.gen), Offset: l.size,
			Reason: fmt.Sprintf("frames verify up to offset %d, but the write-ahead log knows %d bytes to be durable", l.size, h.ManifestLen),
		}
	}
	for i := range l.damage {
		if l.damage[i].frameEnd <= h.ManifestLen {
			l.damage[i].proved = true
		}
	}
	return nil
}

// endsClean says whether nothing was written after a clean close. A process may
// open the log, write to the manifest, and die before its first frame: then the
// manifest says more than the last frame knows, and that may be torn, or in the
// page cache alone.
func (l *loadedManifest) endsClean(newest uint64, scan *wal.ScanResult) bool {
	return scan.Clean && newest == l.gen && l.torn == 0 &&
		l.lastFrame.ManifestGen == l.gen && l.lastFrame.ManifestLen == l.size
}

// checkTail applies the last pieces of evidence, and the tail policy.
func (e *Engine) checkTail(l *loadedManifest, scan *wal.ScanResult) error {
	for _, d := range l.damage {
		if d.proved {
			return d.err
		}
	}
	if e.opts.TailPolicy == TailRefuse && scan.TornBytes > 0 {
		return &CorruptError{File: scan.TornFile, Offset: scan.TornOffset, Reason: fmt.Sprintf("%d bytes of an incomplete commit, and Options.TailPolicy refuses them", scan.TornBytes)}
	}
	return nil
}

// cursorsBeyond returns the cursors beyond their topics' ends: they are damage,
// and not clamped.
func (e *Engine) cursorsBeyond() (beyond []*CorruptError) {
	for _, num := range sortedKeys(e.byNum) {
		t := e.byNum[num]
		for _, c := range e.cursors.List(num) {
			if latest := t.latest.Load(); c.ID > latest {
				beyond = append(beyond, &CorruptError{Topic: t.name.name, File: "wal", Reason: fmt.Sprintf("the cursor of consumer %q is at event %d, the latest is %d", c.Consumer, c.ID, latest)})
			}
		}
	}
	return beyond
}

// recoverDirty makes the log of a process that did not end in order safe to
// write to. What was replayed must be on the disk before the first commit, and
// the page cache may have shown us what is not. So the disk itself is asked:
// where it has all of it, the old files stay part of the log, until checkpoints
// are past them, and only the manifest is begun anew. Where it has not, or
// cannot be asked, all of it goes into new segments now. Where there is no space
// for that, the log is opened for reading, and what is shown is synced in the
// place where it is.
func (e *Engine) recoverDirty(entries []vfs.Entry, scan *wal.ScanResult) error {
	if err := e.findOrphans(entries); err != nil {
		return err
	}
	settled := e.beginManifest
	if err := wal.Settle(e.walConfig(), scan); err != nil {
		e.log("what was replayed is written anew", "cause", err)
		settled = func() error { return e.checkpoint(checkpointRecovery) }
	}
	e.needsRecovery.Store(true)
	err := settled()
	if errors.Is(err, ErrNoSpace) {
		e.log("opened on a full disk: nothing can be appended until there is space", "cause", err)
		return e.syncWALFiles(e.env.FS.Open, true)
	}
	if err != nil {
		return err
	}
	if e.env.Inline {
		e.maybeCheckpoint()
	} else {
		e.kickCheckpoint() // so that the next open has less to replay
	}
	return nil
}

// beginManifest records what the manifest says in a new file, and that orphans
// are dropped: the old one may end in an edit that is in the page cache alone.
func (e *Engine) beginManifest() error {
	e.checkpointMu.Lock()
	defer e.checkpointMu.Unlock()
	s := e.manifest.state
	s.nextSegment = max(s.nextSegment, e.writers.next)
	for _, id := range e.writers.orphans {
		s.tombstones[id.ID] = id
	}
	err := e.rotateManifest(nil, true)
	if errors.Is(err, ErrNoSpace) && e.giveUpReserve() {
		err = e.rotateManifest(nil, true)
	}
	if err != nil {
		return err
	}
	e.writers.orphans = nil
	e.needsRecovery.Store(false)
	e.askToRemove()
	return nil
}

// findOrphans looks for files that a checkpoint made and no manifest knows. The
// next manifest names them as dropped; then they are removed.
func (e *Engine) findOrphans(entries []vfs.Entry) error {
	inSeg, err := e.env.FS.ReadDir(segmentDir)
	if errors.Is(err, errNotExist) {
		return &CorruptError{File: segmentDir, Reason: "directory is missing"}
	}
	if err != nil {
		return fmt.Errorf("list files in %s: %w", segmentDir, err)
	}
	s := e.manifest.state
	known := map[uint64]bool{}
	for id := range s.tombstones {
		known[id] = true
	}
	for id := range s.carries {
		known[id] = true
	}
	for _, m := range s.topics {
		for _, seg := range m.segments {
			known[seg.id.ID] = true
		}
	}
	look := func(name string) {
		id, ok := parseSegmentName(name)
		switch {
		case ok && known[id.ID]:
		case ok && id.ID >= s.nextSegment && id.ID < 1<<62 && e.ours(id):
			e.writers.orphans = append(e.writers.orphans, id)
			e.writers.next = max(e.writers.next, id.ID+1)
		default:
			e.report.Unknown = append(e.report.Unknown, name)
			if ok && id.ID < 1<<62 {
				e.writers.next = max(e.writers.next, id.ID+1)
			}
		}
	}
	for _, x := range inSeg {
		look(segmentDir + "/" + x.Name)
	}
	for _, x := range entries {
		switch {
		case strings.HasPrefix(x.Name, "carry-"):
			look(x.Name)
		case x.Name == lockName, x.Name == reserveName, x.Name == segmentDir,
			strings.HasPrefix(x.Name, "wal-"), strings.HasPrefix(x.Name, "manifest-"):
		default:
			e.report.Unknown = append(e.report.Unknown, x.Name)
		}
	}
	return nil
}

// ours says whether a file without a place in the manifest was made by this
// log: its header says so, or it was not written yet.
func (e *Engine) ours(id segment.Identity) bool {
	f, err := e.env.FS.OpenRead(segment.FileName(id))
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, manifestPage)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	if len(bytes.Trim(head[:n], "\x00")) == 0 {
		return true
	}
	id.UUID = e.uuid
	r, err := segment.OpenReader(e.env.FS, id)
	if err != nil {
		return false
	}
	defer r.Close()
	return r.Walk(int64(len(head)), func(segment.Block) error { return nil }) == nil
}

// parseSegmentName is the inverse of segment.FileName.
func parseSegmentName(name string) (id segment.Identity, ok bool) {
	parse := func(hex string) (v uint64) {
		v, err := strconv.ParseUint(hex, 16, 64)
		ok = ok && err == nil
		return v
	}
	ok = true
	if hex, carry := strings.CutPrefix(name, "carry-"); carry {
		id.ID = parse(hex)
		return id, ok && segment.FileName(id) == name
	}
	rest, seg := strings.CutPrefix(name, segmentDir+"/")
	rest, suffix := strings.CutSuffix(rest, ".seg")
	parts := strings.Split(rest, "-")
	if !seg || !suffix || len(parts) != 3 {
		return id, false
	}
	id = segment.Identity{Topic: parse(parts[0]), Incarnation: 1, Base: parse(parts[1]), ID: parse(parts[2])}
	return id, ok && segment.FileName(id) == name
}

// replayer applies frames to the state of the checkpoint.
type replayer struct {
	e       *Engine
	salvage bool
	whole   bool            // salvage: of a log that nobody writes to
	lost    []*CorruptError // whole: records of topics whose names were lost
	known   bool            // the cursors know of the frame
	copies  bool            // events are copied out of the frame
	events  uint64
}

// frame applies one frame: all of it, after all of it was checked.
func (r *replayer) frame(f *wal.Frame) error {
	if err := r.check(f); err != nil {
		if errors.Is(err, ErrVersion) {
			return err
		}
		return &CorruptError{File: f.File, Offset: f.Offset, Reason: fmt.Sprintf("frame at LSN %d: %v", f.Start, err)}
	}
	e := r.e
	e.publishMu.Lock()
	defer e.publishMu.Unlock()
	if fo := e.follower; fo != nil {
		r.known = f.Start < fo.applied
		fo.applied = max(fo.applied, f.End)
	}
	r.copies = f.Lent()
	position := f.Position
	rest := f.Payload
	for len(rest) > 0 {
		t, body, next, _ := cutRecord(rest) // checked
		if num, ok := r.nameless(t, body); ok {
			r.lose(f, num, t, body, &position)
			rest = next
			continue
		}
		if err := r.apply(t, body, &position); err != nil {
			return &CorruptError{File: f.File, Offset: f.Offset, Reason: fmt.Sprintf("frame at LSN %d: %v", f.Start, err)}
		}
		rest = next
	}
	return nil
}

// nameless says whether a record is about a topic that is not known because a
// damaged frame has taken its creation record, and gives the topic's number.
func (r *replayer) nameless(t recordType, body []byte) (num uint64, ok bool) {
	if !r.whole || t == recordCreate {
		return 0, false
	}
	if t == recordCursor {
		entry, _, err := cursor.DecodeEntry(body)
		return entry.Topic, err == nil && r.e.byNum[entry.Topic] == nil
	}
	p, _, err := parsePlace(body)
	return p.topic, err == nil && r.e.byNum[p.topic] == nil
}

// lose notes what is lost with a topic's name.
func (r *replayer) lose(f *wal.Frame, num uint64, t recordType, body []byte, position *uint64) {
	bad := &CorruptError{
		File: f.File, Offset: f.Offset, Reason: fmt.Sprintf("record of topic %d, whose name was lost to damage", num),
	}
	if run, err := parseRun(body); t == recordRun && err == nil {
		bad.FirstID, bad.LastID = EventID(run.first), EventID(run.first+uint64(run.count)-1)
		*position += uint64(run.count)
	}
	r.lost = append(r.lost, bad)
}

// check verifies all events of a frame.
func (r *replayer) check(f *wal.Frame) error {
	position := f.Position
	for rest := f.Payload; len(rest) > 0; {
		t, body, next, err := cutRecord(rest)
		if err != nil {
			return err
		}
		if t == 0 || t > recordBegin {
			return fmt.Errorf("%w: record type %d", ErrVersion, t)
		}
		if t == recordRun {
			run, err := parseRun(body)
			if err != nil {
				return err
			}
			if err := verifyRun(run, position); err != nil {
				return err
			}
			position += uint64(run.count)
		}
		rest = next
	}
	return nil
}

func (r *replayer) apply(t recordType, body []byte, position *uint64) error {
	switch t {
	case recordRun:
		run, err := parseRun(body)
		if err != nil {
			return err
		}
		at := *position
		*position += uint64(run.count)
		return r.run(&run, at)
	case recordCreate:
		return r.create(body)
	case recordCursor:
		return r.cursor(body)
	case recordTrim:
		return r.trim(body)
	case recordBegin:
		return r.begin(body)
	}
	return fmt.Errorf("%w: record type %d", ErrVersion, t)
}

func (r *replayer) topic(p place) (*topicState, error) {
	t := r.e.byNum[p.topic]
	if t == nil {
		return nil, fmt.Errorf("topic %d was never created", p.topic)
	}
	if t.incarnation != p.incarnation {
		return nil, fmt.Errorf("topic %d has incarnation %d, want %d", p.topic, p.incarnation, t.incarnation)
	}
	return t, nil
}

func (r *replayer) create(body []byte) error {
	p, name, err := parsePlace(body)
	if err != nil {
		return err
	}
	topic, err := NewTopic(string(name))
	if err != nil {
		return err
	}
	e := r.e
	if old := e.byNum[p.topic]; old != nil {
		if old.name == topic && old.incarnation == p.incarnation && r.salvage {
			return nil
		}
		return fmt.Errorf("topic %d is created again", p.topic)
	}
	if e.byName[topic] != nil {
		return fmt.Errorf("topic %s is created again", topic)
	}
	t := newTopicState(topic, p)
	t.created, t.known = true, true
	e.addTopic(t)
	e.markDirtyLocked(t)
	e.c.nextTopic = max(e.c.nextTopic, p.topic+1)
	return nil
}

func (r *replayer) run(run *runRecord, position uint64) error {
	t, err := r.topic(run.place)
	if err != nil {
		return err
	}
	e := r.e
	latest, last := t.latest.Load(), run.first+uint64(run.count)-1
	switch {
	case run.first == latest+1:
	case r.salvage && last <= latest:
		return nil // known from the manifest
	case r.salvage && run.first > latest+1:
		e.addGapLocked(t, latest+1, run.first-1)
	default:
		return fmt.Errorf("events %d to %d of topic %s follow event %d", run.first, last, t.name, latest)
	}
	if position <= e.visible.Load() && !r.salvage {
		return fmt.Errorf("position %d of topic %s follows position %d", position, t.name, e.visible.Load())
	}
	e.markDirtyLocked(t)
	if last >= t.low.Load() {
		data := run.events
		if r.copies {
			data = append(e.tailRoomLocked(len(data)), data...)
		}
		e.pushLocked(t, chunk{first: run.first, position: position, count: uint64(run.count), data: data})
	}
	e.visible.Store(max(e.visible.Load(), position+uint64(run.count)-1))
	t.latest.Store(last)
	t.assigned = last
	e.c.nextPosition = e.visible.Load() + 1
	r.events += uint64(run.count)
	return nil
}

func (r *replayer) cursor(body []byte) error {
	entry, rest, err := cursor.DecodeEntry(body)
	if err != nil {
		return err
	}
	if len(rest) != 0 {
		return fmt.Errorf("cursor has %d bytes left over", len(rest))
	}
	t := r.e.byNum[entry.Topic]
	if t == nil {
		return fmt.Errorf("cursor of topic %d, which was never created", entry.Topic)
	}
	if r.known {
		return nil
	}
	r.e.markDirtyLocked(t)
	r.e.setCursorLocked(entry)
	return nil
}

func (r *replayer) trim(body []byte) error {
	p, rest, err := parsePlace(body)
	if err != nil || len(rest) != 8 {
		return fmt.Errorf("trim of %d bytes, want %d", len(body), trimBytes)
	}
	t, err := r.topic(p)
	if err != nil {
		return err
	}
	before := binary.LittleEndian.Uint64(rest)
	if before > t.latest.Load() && !r.salvage {
		return fmt.Errorf("trim of topic %s up to event %d, the latest is %d", t.name, before, t.latest.Load())
	}
	r.e.markDirtyLocked(t)
	r.e.trimLocked(t, min(before, t.latest.Load()))
	t.assignedLow = t.low.Load()
	return nil
}

func (r *replayer) begin(body []byte) error {
	p, rest, err := parsePlace(body)
	if err != nil || len(rest) != 8 {
		return fmt.Errorf("begin of %d bytes, want %d", len(body), beginBytes)
	}
	t, err := r.topic(p)
	if err != nil {
		return err
	}
	latest := binary.LittleEndian.Uint64(rest)
	switch {
	case latest > math.MaxInt64:
		return fmt.Errorf("topic %s begins behind event %d", t.name, latest)
	case t.latest.Load() >= latest && r.salvage:
		return nil // known from the manifest
	case t.latest.Load() != 0:
		return fmt.Errorf("topic %s begins behind event %d, and has event %d", t.name, latest, t.latest.Load())
	}
	r.e.markDirtyLocked(t)
	t.begin(latest)
	t.assigned, t.assignedLow = latest, latest+1
	return nil
}
