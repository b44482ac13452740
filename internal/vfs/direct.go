package vfs

import "reflect"

// directAlign is what direct writes must be aligned to, in memory and in the
// file: no disk asks for more.
const directAlign = 4096

// DirectBuffer returns n bytes of memory that a direct write may start at.
func DirectBuffer(n int) []byte {
	b := make([]byte, n+directAlign)
	skip := -reflect.ValueOf(b).Pointer() % directAlign
	return b[skip:][:n:n]
}

// directFile is a file that goes around the page cache until a call of it is
// refused.
type directFile struct{ file }

func (f *directFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(p, off)
	if f.giveUp(err) {
		return f.file.ReadAt(p, off)
	}
	return n, err
}

func (f *directFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.file.WriteAt(p, off)
	if f.giveUp(err) { // perhaps in the middle, after a short count
		m, err := f.file.WriteAt(p[n:], off+int64(n))
		return n + m, err
	}
	return n, err
}

// uncachedFile is a file whose reads all go around the page cache.
type uncachedFile struct{ file }

// ReadAt reads whole pages at page boundaries, and hands out what was asked for.
func (f *uncachedFile) ReadAt(p []byte, off int64) (int, error) {
	from := off &^ (directAlign - 1)
	end := (off + int64(len(p)) + directAlign - 1) &^ (directAlign - 1)
	b := DirectBuffer(int(end - from))
	n, err := f.file.ReadAt(b, from)
	n = copy(p, b[min(int64(n), off-from):n])
	if n == len(p) {
		err = nil // what follows in the last page was not asked for
	}
	return n, err
}

// giveUp makes the file an ordinary one where a direct call was refused, and
// says whether the call is worth another try. Calls that run beside it give up
// for themselves.
func (f *directFile) giveUp(err error) bool {
	return err != nil && refusesDirect(err) && setDirect(f.f, false) == nil
}
