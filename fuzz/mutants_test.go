package fuzz

// What must not be broken without a test noticing. Checks that stand in for
// one another (a frame's place is checked by its LSN, its salt and its chain)
// have each a test of their own package. That a file whose sync failed is not
// written to again has no mutant: the simulated disk forgives it, ext4 does not.
var mutantTable = []mutant{
	{
		name: "commit is not synced", file: "wal/writer.go",
		old: "	if err := w.use.file.f.SyncData(); err != nil {\n		return w.fail(fmt.Errorf(\"sync %s: %w\", w.use.file.name, err))\n	}\n	w.use.begun = true",
		new: "	w.use.begun = true",
	},
	{
		name: "failed sync of a commit is ignored", file: "wal/writer.go",
		old: "		return w.fail(fmt.Errorf(\"sync %s: %w\", w.use.file.name, err))\n	}\n	w.use.begun = true",
		new: "		_ = err\n	}\n	w.use.begun = true",
	},
	{
		name: "failed sync of a commit is tried again", file: "wal/writer.go",
		old: "	if err := w.use.file.f.SyncData(); err != nil {\n		return w.fail(fmt.Errorf(\"sync %s: %w\", w.use.file.name, err))\n	}\n	w.use.begun = true",
		new: "	if w.use.file.f.SyncData() != nil {\n		if err := w.use.file.f.SyncData(); err != nil {\n			return w.fail(err)\n		}\n	}\n	w.use.begun = true",
	},
	{
		name: "directory is not synced for a new log file", file: "wal/space.go",
		old: "	} else {\n		err = s.syncDir()\n	}",
		new: "	}",
	},
	{
		name: "durability is claimed before the sync", file: "wal/writer.go",
		old: "lsn: start, durable: w.Durable(), prev: prev,",
		new: "lsn: start, durable: end, prev: prev,",
	},
	{
		name: "durability is never claimed", file: "wal/writer.go",
		old: "lsn: start, durable: w.Durable(), prev: prev,",
		new: "lsn: start, durable: 0, prev: prev,", packages: []string{"./fuzz", "./wal"}, run: ".",
	},
	{
		name: "evidence behind the end is not looked for", file: "wal/evidence.go",
		old: "[]func() error{s.knownEnd, s.laterFiles, s.laterFrames, s.shape}",
		new: "[]func() error{}",
	},
	{
		name: "shape of damage is not looked at", file: "wal/evidence.go",
		old: "s.laterFiles, s.laterFrames, s.shape}",
		new: "s.laterFiles, s.laterFrames}",
	},
	{
		name: "frame headers are not checked", file: "wal/verify.go",
		old: "	if f := e.check(&h); f != nil {\n		return nil, nil, f, nil\n	}",
		new: "",
	},
	{
		name: "payloads are not checked", file: "wal/verify.go",
		old: "	if found := look(frame, &h); !found.clean() {",
		new: "	if found := look(frame, &h); false && !found.clean() {",
	},
	{
		name: "generation and salt are not checked", file: "wal/verify.go",
		old: "	case h.generation != e.generation || h.salt != e.salt:",
		new: "	case false:", packages: []string{"./fuzz", "./wal"}, run: ".",
	},
	{
		name: "place in the log is not checked", file: "wal/verify.go",
		old: "	case h.lsn != e.lsn:",
		new: "	case false:", packages: []string{"./fuzz", "./wal"}, run: ".",
	},
	{
		name: "chain is not checked", file: "wal/verify.go",
		old: "	case e.prevKnown && h.prev != e.prev:",
		new: "	case false:", packages: []string{"./fuzz", "./wal"}, run: ".",
	},
	{
		name: "log of another uuid is accepted", file: "wal/verify.go",
		old: "	case h.uuid != e.uuid:",
		new: "	case false:", packages: []string{"./fuzz", "./wal"}, run: ".",
	},
	{
		name: "frame begins in a page that a sync covers", file: "wal/writer.go",
		old: "	return w.End().nextPage()\n}",
		new: "	return w.End()\n}", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "bytes of an earlier use stay behind a frame", file: "wal/writer.go",
		old: "	if end > w.End().nextPage() || w.partial {",
		new: "	if u.file != w.use.file {", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "part of a frame stays in a page that is synced", file: "wal/writer.go",
		old: "	if end != end.nextPage() {",
		new: "	if false {", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "part of a frame stays behind a shorter one", file: "wal/writer.go",
		old: "	if end > w.End().nextPage() || w.partial {",
		new: "	if end > w.End().nextPage() {", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "rest of a page is not looked at", file: "wal/verify.go",
		old: "	if at == int64(len(rest)) {",
		new: "	if at >= 0 {", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "rest of a file's last page is not looked at", file: "wal/scan.go",
		old: "		return f, s.checkRest(f)",
		new: "		return f, nil", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "lost frame is taken for the rest of a page", file: "wal/verify.go",
		old: "	case e.lsn != e.end && h.durable != e.end:",
		new: "	case false:", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "evidence within a page is not looked for", file: "wal/evidence.go",
		old: "src.seekFrame(off + unitBytes)",
		new: "src.seekFrame(roundUp(off + unitBytes))", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "readers see a commit before its sync", file: "engine/commit.go",
		old: "	if e.opts.Sync == SyncAlways || g.sync {\n		e.walMu.Lock()",
		new: "	e.publish(g)\n	g.ops = nil\n	if e.opts.Sync == SyncAlways || g.sync {\n		e.walMu.Lock()",
	},
	{
		name: "commits are acknowledged without asking for a sync", file: "engine/commit.go",
		old: "	if e.opts.Sync == SyncAlways || g.sync {\n		e.walMu.Lock()",
		new: "	if g.sync {\n		e.walMu.Lock()",
	},
	{
		name: "segments are not synced before the manifest", file: "engine/checkpoint.go",
		old: "	if err == nil {\n		err = w.sync()\n	}",
		new: "",
	},
	{
		name: "directory of segments is not synced", file: "engine/flush.go",
		old: "	if w.created {\n",
		new: "	if false {\n",
	},
	{
		name: "directory of the log is not synced for a carry file", file: "engine/flush.go",
		old: "	if w.newRoot {\n",
		new: "	if false {\n",
	},
	{
		name: "manifest is not synced", file: "engine/manifest.go",
		old: "if err := m.file.Sync(); err != nil {",
		new: "if err := error(nil); err != nil {",
	},
	{
		name: "directory is not synced for a new manifest", file: "engine/manifest.go",
		old: "	if err := fs.SyncDir(\".\"); err != nil {\n		_ = f.Close()",
		new: "	if err := error(nil); err != nil {\n		_ = f.Close()",
	},
	{
		name: "log is written to as it was recovered", file: "engine/recover.go",
		old: "	if l.endsClean(newest, &scan) {",
		new: "	if l.endsClean(newest, &scan) || true {",
	},
	{
		name: "nobody asks the disk for what was recovered", file: "engine/recover.go",
		old: "	if err := wal.Settle(e.walConfig(), scan); err != nil {",
		new: "	if err := error(nil); err != nil {",
	},
	{
		name: "page cache is believed", file: "wal/settle.go",
		old: "	h, err := cfg.FS.OpenUncached(f.Name)",
		new: "	h, err := cfg.FS.OpenRead(f.Name)",
	},
	{
		name: "what the disk has is not synced", file: "wal/settle.go",
		old: "	if err := h.SyncData(); err != nil {",
		new: "	if err := error(nil); err != nil {",
	},
	{
		name: "last frame counts as proven", file: "wal/scan.go",
		old: "	s.res.Proven = max(s.res.Proven, f.Durable)",
		new: "	s.res.Proven = max(s.res.Proven, f.End)",
	},
	{
		name: "file counts as proven by being there", file: "wal/settle.go",
		old: "	if pos == f.header.start {",
		new: "	if false {", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "files of an unclean end are written to", file: "wal/space.go",
		old: "		s.retired = append(s.retired, f)\n		s.bytes += f.size",
		new: "		s.ready = append(s.ready, f)\n		s.bytes += f.size",
	},
	{
		name: "files of an unclean end are used again", file: "wal/space.go",
		old: "	case !after.Clean || i.state != stateValid || i.Size != i.header.bytes:",
		new: "	case i.state != stateValid || i.Size != i.header.bytes:", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "files of an unclean end are removed before a checkpoint", file: "wal/space.go",
		old: "		if needless(f) {",
		new: "		if true {", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "files of an unclean end do not count", file: "wal/space.go",
		old: "		s.retired = append(s.retired, f)\n		s.bytes += f.size",
		new: "		s.retired = append(s.retired, f)", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "dropped frames are salvaged", file: "wal/salvage.go",
		old: "			until, last = g.header.start, g.header.chain",
		new: "			until, last = g.header.start, 0\n			until = LSN(math.MaxUint64)", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "frames dropped in the page of the last one are salvaged", file: "wal/salvage.go",
		old: "		if e.lsn > until-PageBytes && !s.known &&",
		new: "		if false &&", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "behind damage, frames of the page in which a file was left are lost", file: "wal/salvage.go",
		old: "		if h.sum == last {",
		new: "		if false {", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "a salvage stops behind the second damaged frame of a file", file: "wal/salvage.go",
		old: "			s.known = false // what the next one follows is lost",
		new: "			// what the next one follows is lost", packages: []string{"./wal"}, run: ".",
	},
	{
		name: "manifest is gone on with as it was found", file: "engine/recover.go",
		old: "	err := e.rotateManifest(nil, true)",
		new: "	err := e.reopenManifest(&loadedManifest{manifest: *e.manifest})",
	},
	{
		name: "clean close stays in force after the next write", file: "engine/recover.go",
		old: "	return scan.Clean && newest == l.gen && l.torn == 0 &&\n		l.lastFrame.ManifestGen == l.gen && l.lastFrame.ManifestLen == l.size",
		new: "	return scan.Clean",
	},
	{
		name: "unknown files are removed", file: "engine/recover.go",
		old: "case ok && id.ID >= s.nextSegment && id.ID < 1<<62 && e.ours(id):",
		new: "case ok && id.ID >= s.nextSegment:",
	},
	{
		name: "blocks are moved without being verified", file: "segment/reader.go",
		old: "		body, err = r.verify(dst.stored, b)",
		new: "		body, err = r.verify(dst.stored, b)\n		body, err = Body{dst.stored[blockHeaderBytes:], body.facts}, nil", packages: []string{"./segment", "./engine"}, run: ".",
	},
	{
		name: "blocks that stay in carry files are forgotten", file: "engine/flush.go",
		old: "	m.carried = slices.Concat(m.carried[:keep], w.added)",
		new: "	m.carried = slices.Clone(w.added)", packages: []string{"./engine"}, run: ".",
	},
	{
		name: "carry files are dropped that topics still need", file: "engine/flush.go",
		old: "	addUse(w.used, m.carried[same:], m.lost, 1)\n}",
		new: "	addUse(w.used, nil, m.lost, 1)\n}", packages: []string{"./engine"}, run: ".",
	},
	{
		name: "what carry files are dropped is for the count to say", file: "engine/flush.go",
		old: "		if parts := w.parts(id); parts != 0 {",
		new: "		if parts := w.parts(id); parts < 0 {", packages: []string{"./engine"}, run: "Carry",
	},
	{
		name: "carry files are dropped that lost events are reported from", file: "engine/flush.go",
		old: "		used[l.carry] += n",
		new: "		used[l.carry] += 0", packages: []string{"./engine"}, run: ".",
	},
	{
		name: "carry files that are not emptied hold up the others", file: "engine/flush.go",
		old: "	return sortedKeys(needed)[:max(0, len(needed)-most)]",
		new: "	return sortedKeys(w.state.carries)[:max(0, len(w.state.carries)-most)][:1]", packages: []string{"./engine"}, run: ".",
	},
	{
		name: "lost events are kept in the order they were found in", file: "engine/manifest_state.go",
		old: "	i := sort.Search(len(lost), func(i int) bool { return lost[i].first > more.first })",
		new: "	i := len(lost)", packages: []string{"./engine"}, run: ".",
	},
	{
		name: "edits keep one carried block too many", file: "engine/manifest_state.go",
		old: "	m.carried = slices.Clip(old.carried[drop : drop+keep])",
		new: "	m.carried = slices.Clip(old.carried[drop:min(drop+keep+1, uint64(len(old.carried)))])",
	},
	{
		name: "new carried blocks are written over what readers hold", file: "engine/manifest_state.go",
		old: "	m.carried = slices.Clip(old.carried[drop : drop+keep])",
		new: "	m.carried = old.carried[drop : drop+keep]", packages: []string{"./engine"}, run: ".",
	},
	{
		name: "cached blocks are known by their place alone", file: "engine/read.go",
		old: "	key := blockKey{id.ID, b.Offset, b.Checksum}",
		new: "	key := blockKey{0, b.Offset, 0}", packages: []string{"./engine"}, run: ".",
	},
	{
		name: "events of cached blocks are not verified", file: "engine/read.go",
		old: "		return r.enter(id, &b, cached)",
		new: "		err := r.enter(id, &b, cached)\n		r.it.trusted = true\n		return err", packages: []string{"./engine"}, run: ".",
	},
	{
		name: "Verify reads from the cache", file: "engine/read.go",
		old: "	if cached != nil && !r.fresh {",
		new: "	if cached != nil {", packages: []string{"./engine"}, run: ".",
	},
	{
		name: "log is freed before the manifest is written", file: "engine/checkpoint.go",
		old: "	if err := e.record(w, cut, mode); err != nil {",
		new: "	_ = e.wal.Free(cut.start)\n	if err := e.record(w, cut, mode); err != nil {",
	},
	{
		name: "changes of a failed checkpoint are forgotten", file: "engine/checkpoint.go",
		old: "		w.abandon()\n		e.uncut(cut)",
		new: "		w.abandon()",
	},
	{
		name: "cursors are not checkpointed", file: "engine/checkpoint.go",
		old: "			w.edit.cursor(moved[k])",
		new: "			_ = k",
	},
	{
		name: "latest id is that of the last event on disk", file: "engine/recover.go",
		old: "	t.latest.Store(m.latest)\n",
		new: "	t.latest.Store(m.last())\n",
	},
	{
		name: "blocks are not checked", file: "segment/reader.go",
		old: "	if got := xxhash.Sum64(body); got != b.Checksum {",
		new: "	if got := xxhash.Sum64(body); false {", packages: []string{"./fuzz", "./segment"},
	},
}
