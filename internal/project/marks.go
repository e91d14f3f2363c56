package project

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/syncflow/textegress/internal/durable"
	"github.com/syncflow/textegress/internal/source/rabbitmq"
)

const (
	marksDir     = "listening" // below DATA_DIR
	marksVersion = 1
	marksOp      = "listening"
)

// marks stores in the data directory the time until which the announcements of a project were
// received. It implements [rabbitmq.Memory].
type marks struct {
	path  string
	group string
}

// markFile is the content of the file, see docs/FORMAT.md, section 1.
type markFile struct {
	FormatVersion int    `json:"format_version"`
	Group         string `json:"group"`
	rabbitmq.Mark
}

func newMarks(dataDir, projectID, group string) *marks {
	return &marks{path: filepath.Join(dataDir, marksDir, projectID+".json"), group: group}
}

// Load implements [rabbitmq.Memory]. A mark of another group is ignored.
func (m *marks) Load() (rabbitmq.Mark, error) {
	b, err := durable.OS{}.ReadFile(marksOp, m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return rabbitmq.Mark{}, nil
	}
	if err != nil {
		return rabbitmq.Mark{}, fmt.Errorf("read until when announcements were heard: %w", err)
	}
	var f markFile
	if err := json.Unmarshal(b, &f); err != nil || f.FormatVersion != marksVersion {
		return rabbitmq.Mark{}, fmt.Errorf("%s is damaged, or of a later version: it is replaced",
			m.path)
	}
	if f.Group != m.group {
		return rabbitmq.Mark{}, nil
	}
	return f.Mark, nil
}

// Save implements [rabbitmq.Memory].
func (m *marks) Save(mark rabbitmq.Mark) error {
	b, err := json.MarshalIndent(markFile{FormatVersion: marksVersion, Group: m.group, Mark: mark},
		"", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", m.path, err)
	}
	if err := durable.MkdirAll(durable.OS{}, marksOp, filepath.Dir(m.path)); err != nil {
		return fmt.Errorf("make %s: %w", filepath.Dir(m.path), err)
	}
	return durable.ReplaceFile(durable.OS{}, marksOp, m.path, append(b, '\n'))
}
