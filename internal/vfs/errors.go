package vfs

import (
	"errors"
	"io/fs"
	"os"
)

// errNotRegular is why a pipe, a device, a link or a directory is not opened.
var errNotRegular = errors.New("not a regular file")

// errReplaced is why a file is not opened that is another one at each look.
var errReplaced = errors.New("the file keeps being replaced")

// noSpaceError is an error of the platform that means a full disk or quota.
type noSpaceError struct{ err error }

func (e noSpaceError) Error() string   { return e.err.Error() }
func (e noSpaceError) Unwrap() []error { return []error{ErrNoSpace, e.err} }

// pathError says what was being done to which name, and marks a full disk.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		err = link.Err
	}
	if isNoSpace(err) && !errors.Is(err, ErrNoSpace) {
		err = noSpaceError{err}
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
