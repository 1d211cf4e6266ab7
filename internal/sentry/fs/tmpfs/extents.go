package tmpfs

import "slices"

// extents are the pages of a file that have storage: sorted, apart from each
// other. All else is a hole.
type extents []extent

// extent is the pages from start to end, end not included.
type extent struct{ start, end int64 }

// at gives the index of the first extent that ends behind page p.
func (x extents) at(p int64) int {
	i, _ := slices.BinarySearchFunc(x, p, func(e extent, p int64) int {
		if e.end <= p {
			return -1
		}
		return 1
	})
	return i
}

// missing counts the pages of [a, b) without storage.
func (x extents) missing(a, b int64) int64 {
	n := b - a
	for i := x.at(a); i < len(x) && x[i].start < b; i++ {
		n -= min(x[i].end, b) - max(x[i].start, a)
	}
	return n
}

// add gives [a, b) storage.
func (x *extents) add(a, b int64) {
	if a >= b {
		return
	}
	s := *x
	i := s.at(a)
	if i < len(s) && s[i].start <= a && b <= s[i].end {
		return
	}
	if i > 0 && s[i-1].end == a {
		i--
	}
	j := i
	for j < len(s) && s[j].start <= b {
		a, b = min(a, s[j].start), max(b, s[j].end)
		j++
	}
	*x = slices.Replace(s, i, j, extent{a, b})
}

// remove takes the storage of [a, b) away.
func (x *extents) remove(a, b int64) {
	if a >= b {
		return
	}
	s := *x
	i := s.at(a)
	j := i
	var keep [2]extent
	n := 0
	for ; j < len(s) && s[j].start < b; j++ {
		if s[j].start < a {
			keep[n] = extent{s[j].start, a}
			n++
		}
		if s[j].end > b {
			keep[n] = extent{b, s[j].end}
			n++
		}
	}
	if i < j {
		*x = slices.Replace(s, i, j, keep[:n]...)
	}
}

// pages counts all.
func (x extents) pages() (n int64) {
	for _, e := range x {
		n += e.end - e.start
	}
	return n
}

// data gives the first page ≥ p with storage.
func (x extents) data(p int64) (int64, bool) {
	i := x.at(p)
	if i == len(x) {
		return 0, false
	}
	return max(p, x[i].start), true
}

// hole gives the first page ≥ p without.
func (x extents) hole(p int64) int64 {
	if i := x.at(p); i < len(x) && x[i].start <= p {
		return x[i].end
	}
	return p
}

// shift moves all from page p on by n pages (FALLOC_FL_COLLAPSE_RANGE and
// INSERT_RANGE); what would fall below p has been removed.
func (x *extents) shift(p, n int64) {
	var out extents
	for _, e := range *x {
		switch {
		case e.end <= p:
			out.add(e.start, e.end)
		case e.start >= p:
			out.add(e.start+n, e.end+n)
		default:
			out.add(e.start, p)
			out.add(p+n, e.end+n)
		}
	}
	*x = out
}
