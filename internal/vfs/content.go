package vfs

import "bytes"

const pageSize = 4096

// page is immutable once it is in a table: a write replaces it. Views of a
// file, clones and crash images can then share pages without counting them.
type page [pageSize]byte

var zeroPage page

// content is the bytes of a simulated file. Copying one is cheap: see clone.
type content struct {
	size   int64
	pages  []*page // nil and missing pages are zeros, and so is all past size
	shared bool    // pages belongs to another content too, and must be copied first
}

// clone returns the same bytes; both sides copy the page table before they
// change it.
func (c *content) clone() content {
	c.shared = true
	return *c
}

func (c *content) pageAt(i int64) *page {
	if i < int64(len(c.pages)) && c.pages[i] != nil {
		return c.pages[i]
	}
	return &zeroPage
}

// readAt copies what lies between off and the end of the file.
func (c *content) readAt(p []byte, off int64) int {
	n := 0
	for n < len(p) && off < c.size {
		part := p[n:min(int64(len(p)), int64(n)+c.size-off)]
		k := copy(part, c.pageAt(off / pageSize)[off%pageSize:])
		n, off = n+k, off+int64(k)
	}
	return n
}

func (c *content) bytes() []byte {
	b := make([]byte, c.size)
	c.readAt(b, 0)
	return b
}

// writeAt writes p, or n zeros where p is nil, and grows the file.
func (c *content) writeAt(p []byte, n, off int64) {
	if n == 0 {
		return
	}
	c.own((off + n + pageSize - 1) / pageSize)
	end := off + n
	c.size = max(c.size, end)
	for at := off; at < end; {
		i, in := at/pageSize, at%pageSize
		k := min(pageSize-in, end-at)
		var part []byte
		if p != nil {
			part = p[at-off : at-off+k]
		}
		c.pages[i] = replaced(c.pages[i], part, in, k)
		at += k
	}
}

// replaced returns the page with k bytes at in changed; a page of zeros is nil.
func replaced(old *page, part []byte, in, k int64) *page {
	zeros := part == nil || bytes.Equal(part, zeroPage[:k])
	if zeros && (old == nil || k == pageSize) {
		return nil
	}
	fresh := new(page)
	if old != nil {
		*fresh = *old
	}
	if zeros {
		clear(fresh[in : in+k])
		return fresh
	}
	copy(fresh[in:], part)
	return fresh
}

// truncate cuts or grows to size; what is past it reads as zeros ever after.
func (c *content) truncate(size int64) {
	if size >= c.size {
		c.size = size
		return
	}
	pages := (size + pageSize - 1) / pageSize
	if pages < int64(len(c.pages)) {
		c.own(pages)
		c.pages = c.pages[:pages]
	}
	if in := size % pageSize; in != 0 && pages <= int64(len(c.pages)) {
		c.own(pages)
		c.pages[pages-1] = replaced(c.pages[pages-1], nil, in, pageSize-in)
	}
	c.size = size
}

// own makes the page table ours alone and at least so many pages long.
func (c *content) own(pages int64) {
	have := int64(len(c.pages))
	if !c.shared && have >= pages {
		return
	}
	if !c.shared && int64(cap(c.pages)) >= pages {
		c.pages = c.pages[:pages]
		clear(c.pages[have:])
		return
	}
	fresh := make([]*page, max(have, pages), max(have, pages)*5/4+1)
	copy(fresh, c.pages)
	c.pages, c.shared = fresh, false
}
