package fuzz

// What must not be broken without a test noticing. Checks that stand in for
// one another (a frame's place is checked by its LSN, its salt and its chain)
// are broken together: each alone is a second line of defence.
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
		name: "log files are used again one checkpoint early", file: "wal/space.go",
		old: "return f.left && f.end <= upTo.LSN && f.generation < upTo.lowest() }",
		new: "return f.left }",
	},
	{
		name: "files of an unclean end are used again", file: "wal/space.go",
		old: "	case !after.Clean || i.state != stateValid",
		new: "	case i.state != stateValid",
	},
	{
		name: "durability is claimed before the sync", file: "wal/writer.go",
		old: "lsn: start, durable: w.Durable(), prev: prev,",
		new: "lsn: start, durable: start + LSN(size), prev: prev,",
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
}
