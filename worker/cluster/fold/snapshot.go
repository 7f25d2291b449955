package fold

import (
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
)

// chain is the digest after an entry: it covers all entries so far and what the fold made of each.
func chain(previous string, log print, out Outcome) string {
	h := sha256.New()
	h.Write([]byte(previous))
	h.Write(log[:])
	h.Write([]byte(out.Reason))
	for _, ev := range out.Events {
		fmt.Fprintf(h, "\n%s", ev)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// image is a fold as a snapshot holds it: versioned, and with one form per state.
type image struct {
	Version  int              `json:"v"`
	Offset   int64            `json:"asOf"`
	Digest   string           `json:"digest"`
	Sessions []Session        `json:"sessions"`
	Owners   []ownedUnit      `json:"owners"`
	Floors   map[string]int64 `json:"floors"`
	Asked    map[string]int64 `json:"asked"`
	Tops     []ownedUnit      `json:"tops"`
	Marks    map[string]mark  `json:"marks"`
	History  storedHistory    `json:"history"`
}

type ownedUnit struct {
	Connector  string `json:"connector"`
	Task       int    `json:"task"`
	Session    int64  `json:"session,omitempty"`
	Generation int64  `json:"generation"`
	Epoch      int64  `json:"epoch,omitempty"`
}

func compareOwned(a, b ownedUnit) int {
	return cmp.Or(cmp.Compare(a.Connector, b.Connector), cmp.Compare(a.Task, b.Task))
}

// Image returns the whole state. Equal states have equal images.
func (f *Fold) Image() ([]byte, error) {
	im := image{
		Version: Version, Offset: f.offset, Digest: f.digest, Sessions: f.Sessions(), Floors: f.floors, Asked: f.asked, Marks: f.marks,
		History: f.history.stored(),
		Owners:  make([]ownedUnit, 0, len(f.owners)), Tops: make([]ownedUnit, 0, len(f.tops)),
	}
	for u, o := range f.owners {
		im.Owners = append(im.Owners, ownedUnit{u.Connector, u.Task, o.Session, o.Generation, o.Epoch})
	}
	for u, top := range f.tops {
		im.Tops = append(im.Tops, ownedUnit{Connector: u.Connector, Task: u.Task, Generation: top})
	}
	slices.SortFunc(im.Owners, compareOwned)
	slices.SortFunc(im.Tops, compareOwned)
	out, err := json.Marshal(im)
	if err != nil {
		return nil, fmt.Errorf("encoding cluster snapshot: %w", err)
	}
	return out, nil
}

// Restore returns the fold that an image was made of.
func Restore(data []byte) (*Fold, error) {
	if len(data) > maxImage || bytes.Count(data, []byte("{")) > maxObjects || bytes.Count(data, []byte(",")) > maxItems {
		return nil, fmt.Errorf("decoding cluster snapshot: %w: %d bytes, with more in them than any cluster has", errMalformed, len(data))
	}
	var im image
	if err := json.Unmarshal(data, &im); err != nil {
		return nil, fmt.Errorf("decoding cluster snapshot: %w", err)
	}
	if im.Version != Version {
		return nil, fmt.Errorf("decoding cluster snapshot: fold version %d, want %d", im.Version, Version)
	}
	if len(im.Sessions) > maxSessions {
		return nil, fmt.Errorf("decoding cluster snapshot: %w: %d sessions", errMalformed, len(im.Sessions))
	}
	f := New()
	var err error
	if f.history, err = im.History.restore(im.Offset); err != nil {
		return nil, err
	}
	f.offset, f.digest = im.Offset, im.Digest
	maps.Copy(f.floors, im.Floors)
	maps.Copy(f.asked, im.Asked)
	maps.Copy(f.marks, im.Marks)
	for _, s := range im.Sessions {
		f.sessions[s.ID] = s
	}
	for _, o := range im.Owners {
		f.owners[Unit{Connector: o.Connector, Task: o.Task}] = Owner{o.Session, o.Generation, o.Epoch}
		f.held[o.Connector]++
	}
	for _, o := range im.Tops {
		f.tops[Unit{Connector: o.Connector, Task: o.Task}] = o.Generation
	}
	return f, nil
}

const (
	// partSize keeps a record far below a broker's message limit, base64 included.
	partSize = 256 << 10
	maxParts = 4096
	// maxImage bounds what a snapshot is unpacked to, in bytes, and maxObjects and maxItems what those can become in
	// memory: a task takes two objects and eight items. They are enough for 200,000 tasks.
	maxImage   = 32 << 20
	maxObjects = 1 << 19
	maxItems   = 1 << 21
)

// The forms of an image in a snapshot. Plain is what older workers write.
const (
	formPlain   = ""
	formDeflate = "deflate"
)

// Split packs an image, which names each connector once a task, and cuts it into parts of which each fits a record.
func Split(image []byte) ([]Part, error) {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		return nil, fmt.Errorf("packing cluster snapshot: %w", err)
	}
	if _, err := w.Write(image); err != nil {
		return nil, fmt.Errorf("packing cluster snapshot: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("packing cluster snapshot: %w", err)
	}
	return cut(packed.Bytes(), formDeflate), nil
}

func cut(data []byte, form string) []Part {
	sum := sha256.Sum256(data)
	total := max(1, (len(data)+partSize-1)/partSize)
	parts := make([]Part, 0, total)
	for i := range total {
		parts = append(parts, Part{Index: i, Total: total, Form: form, Sum: hex.EncodeToString(sum[:]),
			Data: data[i*partSize : min(len(data), (i+1)*partSize)]})
	}
	return parts
}

// unpack returns the image of all parts together; false when there is none in them.
func unpack(data []byte, form string) ([]byte, bool) {
	switch form {
	case formPlain:
		return data, true
	case formDeflate:
		image, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), maxImage+1))
		return image, err == nil && len(image) <= maxImage
	}
	return nil, false
}
