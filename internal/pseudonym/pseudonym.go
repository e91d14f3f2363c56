// Package pseudonym creates the pseudonyms used in deliveries, and stores their mapping to
// identities in the data directory.
//
// A project has one random key, created once in the data directory. A pseudonym is a function of
// key and identity: a participant has the same pseudonym in all recordings of a project, and a
// different one in every other project. Without the key and the list stored with it, a pseudonym
// cannot be traced to an identity. With the key, a guessed identity can be confirmed.
//
// The guarantee: key and list are durable before anything derived from them can be delivered. A
// lost or damaged key is never replaced for the recordings that were started with it: [Store.Names]
// returns an error.
package pseudonym

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/syncflow/textegress"
	"github.com/syncflow/textegress/internal/durable"
)

// Dir is the folder in the data directory that holds keys and lists, in one file per project.
const Dir = "pseudonyms"

const (
	formatVersion = 1
	keySize       = 32
	suffix        = ".json"
	op            = "pseudonyms"
)

// Store holds the keys and lists of a data directory. Its methods are safe for concurrent use. Only
// the process that holds the lock of the spool may change them; a read-only store changes nothing.
type Store struct {
	dir      string
	readOnly bool

	mu       sync.Mutex
	projects map[string]*project
}

// project is the decoded file of one project.
type project struct {
	key        []byte
	identities map[string]bool
}

// file is the JSON form of a project's file.
type file struct {
	FormatVersion int      `json:"format_version"`
	ProjectID     string   `json:"project_id"`
	Key           []byte   `json:"key"`
	Entries       []listed `json:"pseudonyms"`
}

type listed struct {
	Pseudonym string `json:"pseudonym"`
	Identity  string `json:"identity"`
}

// Open returns the store of a data directory. This process must hold its lock.
func Open(dataDir string) *Store {
	return &Store{dir: filepath.Join(dataDir, Dir), projects: map[string]*project{}}
}

// OpenReadOnly returns the store of a data directory that another process may be using.
func OpenReadOnly(dataDir string) *Store {
	s := Open(dataDir)
	s.readOnly = true
	return s
}

// Key returns the name of the project's key, and creates the key if there is none. When it returns
// nil, the key survives a power failure.
func (s *Store) Key(projectID string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.load(projectID)
	if errors.Is(err, fs.ErrNotExist) && !s.readOnly {
		p = &project{key: make([]byte, keySize), identities: map[string]bool{}}
		_, _ = rand.Read(p.key) // never fails, see crypto/rand
		err = s.save(projectID, p)
	}
	if err != nil {
		return "", err
	}
	return keyName(p.key), nil
}

// Names returns the pseudonyms of a project. key is the name that [Store.Key] returned when the
// recording was created; any key matches if it is empty. The error names the missing key and the
// remedy.
func (s *Store) Names(projectID, key string) (*Names, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.load(projectID)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the key of the project's pseudonyms is missing: restore %s "+
			"from a backup", s.path(projectID))
	case err != nil:
		return nil, err
	case key != "" && key != keyName(p.key):
		return nil, fmt.Errorf("the recording was begun with another key for pseudonyms (%s) "+
			"than the one in %s (%s): restore that file from a backup",
			key, s.path(projectID), keyName(p.key))
	}
	return &Names{store: s, projectID: projectID, key: p.key}, nil
}

// Entry is a pseudonym and its identity.
type Entry struct {
	ProjectID string `json:"project_id"`
	Pseudonym string `json:"pseudonym"`
	Identity  string `json:"identity"`
}

// List returns the entries of a project, or of all projects if projectID is empty, sorted by
// pseudonym.
func (s *Store) List(projectID string) ([]Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, err := durable.OS{}.ReadDir(op, s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the pseudonyms: %w", err)
	}
	list := []Entry{}
	for _, e := range names {
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		id, p, err := read(filepath.Join(s.dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if projectID != "" && projectID != id {
			continue
		}
		for _, l := range p.entries() {
			list = append(list, Entry{ProjectID: id, Pseudonym: l.Pseudonym, Identity: l.Identity})
		}
	}
	slices.SortStableFunc(list,
		func(a, b Entry) int { return cmp.Compare(a.ProjectID, b.ProjectID) })
	return list, nil
}

// Erase removes an identity from the list of a project, or from all lists if projectID is empty.
// When it returns nil, the identity is durably removed. The key stays: other recordings need it.
func (s *Store) Erase(projectID, identity string) error {
	list, err := s.List(projectID)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Identity != identity {
			continue
		}
		if err := s.change(e.ProjectID,
			func(p *project) { delete(p.identities, identity) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) change(projectID string, f func(*project)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.load(projectID)
	if err != nil {
		return err
	}
	next := &project{key: p.key, identities: map[string]bool{}}
	for identity := range p.identities {
		next.identities[identity] = true
	}
	f(next)
	if len(next.identities) == len(p.identities) {
		return nil // the loaded file is durable, see load
	}
	return s.save(projectID, next)
}

func (s *Store) path(projectID string) string {
	return filepath.Join(s.dir, textegress.EscapeName(projectID)+suffix)
}

// load returns a project's file, which is durable unless the store is read-only.
func (s *Store) load(projectID string) (*project, error) {
	if p := s.projects[projectID]; p != nil {
		return p, nil
	}
	id, p, err := read(s.path(projectID))
	if err != nil {
		return nil, err
	}
	if id != projectID {
		return nil, fmt.Errorf("%s is not the file of the project %s: restore it from a backup",
			s.path(projectID), projectID)
	}
	if !s.readOnly {
		// The content was durable before the file was renamed, but a crash may have prevented the
		// new name from becoming durable.
		if err := (durable.OS{}).SyncDir(op, s.dir); err != nil {
			return nil, fmt.Errorf("read the pseudonyms: %w", err)
		}
		s.projects[projectID] = p
	}
	return p, nil
}

// save makes p durable and keeps it in memory.
func (s *Store) save(projectID string, p *project) error {
	if err := durable.MkdirAll(durable.OS{}, op, s.dir); err != nil {
		return fmt.Errorf("keep the pseudonyms: %w", err)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(file{
		FormatVersion: formatVersion, ProjectID: projectID, Key: p.key,
		Entries: p.entries(),
	}); err != nil {
		return fmt.Errorf("keep the pseudonyms: %w", err)
	}
	if err := durable.ReplaceFile(durable.OS{}, op, s.path(projectID), buf.Bytes()); err != nil {
		return fmt.Errorf("keep the pseudonyms: %w", err)
	}
	s.projects[projectID] = p
	return nil
}

// read reads a file. Its errors do not quote the content, which has a key and identities.
func read(path string) (projectID string, _ *project, err error) {
	b, err := durable.OS{}.ReadFile(op, path)
	if err != nil {
		return "", nil, fmt.Errorf("read the pseudonyms: %w", err)
	}
	var f file
	if textegress.DecodeJSON(b, &f) != nil || f.FormatVersion < 1 || len(f.Key) != keySize {
		return "", nil, fmt.Errorf("%s is damaged: restore it from a backup", path)
	}
	if f.FormatVersion > formatVersion {
		return "", nil, fmt.Errorf("%s has format version %d, this program supports %d", path,
			f.FormatVersion, formatVersion)
	}
	p := &project{key: f.Key, identities: map[string]bool{}}
	for _, l := range f.Entries {
		p.identities[l.Identity] = true
	}
	return f.ProjectID, p, nil
}

func (p *project) entries() []listed {
	list := []listed{}
	for identity := range p.identities {
		list = append(list, listed{Pseudonym: pseudonym(p.key, identity), Identity: identity})
	}
	slices.SortFunc(list, func(a, b listed) int {
		return cmp.Or(cmp.Compare(a.Pseudonym, b.Pseudonym), cmp.Compare(a.Identity, b.Identity))
	})
	return list
}

// keyName identifies a key without revealing it: the key is random and has 256 bits.
func keyName(key []byte) string {
	sum := sha256.Sum256(append([]byte("textegress pseudonym key\x00"), key...))
	return hex.EncodeToString(sum[:8])
}

// Names are the pseudonyms of one project.
type Names struct {
	store     *Store
	projectID string
	key       []byte
}

// KeyName returns the name of the key, as [Store.Key] does.
func (n *Names) KeyName() string { return keyName(n.key) }

// Of returns the pseudonym of an identity: "P-" and ten characters of A to Z and 2 to 7. The empty
// identity belongs to nobody and stays empty. Among a hundred thousand participants, the
// probability that two have the same pseudonym is one in 200,000.
func (n *Names) Of(identity string) string {
	if identity == "" {
		return ""
	}
	return pseudonym(n.key, identity)
}

// ID returns the replacement for a message or stream id chosen by a sender: "I-" and ten
// characters.
func (n *Names) ID(id string) string {
	if id == "" {
		return ""
	}
	return "I-" + short(n.key, "id", id)
}

// Save adds identities to the list of those whose pseudonyms are in use. When it returns nil, the
// list survives a power failure. A read-only store writes nothing.
func (n *Names) Save(identities []string) error {
	if n.store.readOnly {
		return nil
	}
	return n.store.change(n.projectID, func(p *project) {
		for _, identity := range identities {
			if identity != "" {
				p.identities[identity] = true
			}
		}
	})
}

func pseudonym(key []byte, identity string) string {
	return "P-" + short(key, "identity", identity)
}

// short returns 50 bits of an HMAC-SHA256.
func short(key []byte, what, text string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(what + "\x00" + text))
	return base32.StdEncoding.EncodeToString(h.Sum(nil))[:10]
}
