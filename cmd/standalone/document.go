package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// stdinName stands for standard input among the files.
const stdinName = "-"

// place is where an object was written: the documents of a file that hold something are counted from 1.
type place struct {
	file     string
	document int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.document) }

// finding is one thing that is wrong, or worth a word.
type finding struct {
	at place
	// field is empty when it is about the whole document.
	field, message string
}

// String is file:document: field: message.
func (f finding) String() string {
	if f.field == "" {
		return fmt.Sprintf("%s: %s", f.at, f.message)
	}
	return fmt.Sprintf("%s: %s: %s", f.at, f.field, f.message)
}

// document is an object as it was written. Broken ones have no object.
type document struct {
	at     place
	object map[string]any
}

// readAll reads the files in order. Documents that are no objects become findings; a file that cannot be read is an
// error.
func readAll(files []string, stdin io.Reader) (docs []document, broken []finding, err error) {
	for _, file := range files {
		text, err := read(file, stdin)
		if err != nil {
			return nil, nil, fmt.Errorf("reading: %w", err)
		}
		if file == stdinName {
			file = "stdin"
		}
		more, wrong, err := split(file, text)
		if err != nil {
			return nil, nil, fmt.Errorf("reading %s: %w", file, err)
		}
		docs, broken = append(docs, more...), append(broken, wrong...)
	}
	return docs, broken, nil
}

func read(file string, stdin io.Reader) ([]byte, error) {
	if file == stdinName {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(file)
}

// split takes a file apart. After a broken document it goes on with the next.
func split(file string, text []byte) (docs []document, broken []finding, err error) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for at := (place{file, 1}); ; {
		part, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return docs, broken, nil
		}
		if err != nil {
			return nil, nil, err
		}
		object, err := parse(part)
		switch {
		case err != nil:
			broken = append(broken, finding{at: at, message: err.Error()})
		case object == nil:
			continue
		default:
			docs = append(docs, document{at, object})
		}
		at.document++
	}
}

// parse reads one document as strictly as kubectl does: a key that is there twice is a mistake. It returns nil for
// comments alone.
func parse(text []byte) (map[string]any, error) {
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, fmt.Errorf("this is not YAML: %w", err)
	}
	var value any
	if err := utiljson.Unmarshal(asJSON, &value); err != nil {
		return nil, fmt.Errorf("this is not YAML: %w", err)
	}
	object, ok := value.(map[string]any)
	if !ok && value != nil {
		return nil, errors.New("this is no Kubernetes object: it has no apiVersion and kind")
	}
	return object, nil
}
