package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Format is what a root image is.
type Format string

// Formats, by their names as file systems.
const (
	Erofs    Format = "erofs"
	Squashfs Format = "squashfs"
)

// Image is a root image in the cache.
type Image struct {
	*Entry
	Format Format
}

// tool is the program that makes a format, and how it is called.
type tool struct {
	program string
	pkg     string
	args    func(root, image string) []string
}

var tools = map[Format]tool{
	// Uncompressed: the guest pays for every byte it unpacks, and the host's
	// page cache holds the image once for all guests.
	Erofs: {"mkfs.erofs", "erofs-utils", func(root, image string) []string {
		return []string{"--quiet", "-E", "force-inode-extended", image, root}
	}},
	Squashfs: {"mksquashfs", "squashfs-tools", func(root, image string) []string {
		return []string{root, image, "-noappend", "-comp", "lz4", "-no-progress", "-quiet", "-no-exports", "-mem", "256M"}
	}},
}

// RootOptions say how an image is made.
type RootOptions struct {
	Format Format // "" chooses: EROFS, unless the host or the kernel has only squashfs
	// ID, if not empty, names the content in place of a walk over the tree: for
	// a caller who knows it (an image's chain of layers). It must change
	// whenever the tree does.
	ID string
}

// chooseFormat takes the first that the host can make and the kernel can mount.
func chooseFormat(k *Kernel) (Format, error) {
	var lack []string
	index, err := readModules(k.Modules)
	if err != nil {
		return "", err
	}
	for _, f := range []Format{Erofs, Squashfs} {
		if index.path[string(f)] == "" && !index.builtin[string(f)] {
			lack = append(lack, fmt.Sprintf("kernel %s has no module %s", k.Release, f))
			continue
		}
		if _, err := exec.LookPath(tools[f].program); err != nil {
			lack = append(lack, installHint(tools[f].pkg))
			continue
		}
		return f, nil
	}
	return "", fmt.Errorf("root images cannot be made: %s", strings.Join(lack, "; "))
}

// RootImage gives a read-only image of a root file system, made once for what
// is in it.
func (c *Cache) RootImage(k *Kernel, root string, o RootOptions) (*Image, error) {
	if o.Format == "" {
		f, err := chooseFormat(k)
		if err != nil {
			return nil, err
		}
		o.Format = f
	}
	t, ok := tools[o.Format]
	if !ok {
		return nil, fmt.Errorf("root image: format %q is neither erofs nor squashfs", o.Format)
	}
	seed := func(k *key) { k.text(string(o.Format)); k.text(o.ID); k.num(DiskBytes) }
	var last error
	for range 3 {
		sum, err := rootSum(root, o, seed)
		if err != nil {
			return nil, err
		}
		e, err := c.get("root-"+string(o.Format), sum, func(w *os.File) error {
			if err := t.make(root, w.Name()); err != nil {
				return err
			}
			if err := pad(w.Name()); err != nil {
				return err
			}
			again, err := rootSum(root, o, seed)
			if err == nil && again != sum {
				err = fmt.Errorf("root %s: %w", root, ErrChanging)
			}
			return err
		})
		if err == nil {
			return &Image{e, o.Format}, nil
		}
		if last = err; !errors.Is(err, ErrChanging) {
			break
		}
	}
	return nil, last
}

// DiskBytes is the size of every image: a hole follows what is in it. A machine
// that was saved with an empty disk of that size needs not look at its disk
// again when it goes on with another.
const DiskBytes = 64 << 30

// pad makes an image's file a disk's size. A larger one, or one on a file system
// that has no files of that size, stays as it is.
func pad(image string) error {
	st, err := os.Stat(image)
	if err != nil {
		return fmt.Errorf("root image: %w", err)
	}
	if st.Size() >= DiskBytes {
		return nil
	}
	if err := os.Truncate(image, DiskBytes); err != nil && !errors.Is(err, unix.EFBIG) {
		return fmt.Errorf("root image: %w", err)
	}
	return nil
}

func rootSum(root string, o RootOptions, seed func(*key)) (string, error) {
	if o.ID == "" {
		return treeKey(root, seed)
	}
	k := newKey("root by id", 1)
	seed(k)
	return k.sum(), nil
}

// make runs the program. The tree and the image are given by name, with
// nothing in the environment that could change what it does.
func (t tool) make(root, image string) error {
	cmd := exec.Command(t.program, t.args(root, image)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("root image: %s is not installed: %s", t.program, installHint(t.pkg))
	}
	if err != nil {
		text := strings.TrimSpace(out.String())
		if len(text) > 2000 {
			text = text[len(text)-2000:]
		}
		return fmt.Errorf("root image of %s: %s: %w: %s", root, t.program, err, text)
	}
	return nil
}
