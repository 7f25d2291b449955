package convert

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rocketmq-connect/operator/worker/record"
)

// jsonHeader is one header in the list of PropertyHeaders. Values are base64, null values null. A name that is not
// UTF-8 is base64 in NameBytes.
type jsonHeader struct {
	Name      *string `json:"name,omitempty"`
	NameBytes []byte  `json:"nameBase64,omitempty"`
	Value     []byte  `json:"value"`
}

// addHeaders makes a property of each header that can be one. If any cannot, all of them are listed in PropertyHeaders
// too, and that list is what is read back; the properties are left out if there is no room for both.
func (b builder) addHeaders(headers []record.Header) (builder, error) {
	if len(headers) == 0 {
		return b, nil
	}
	size := 0
	for i := range headers { // neither form takes less: what cannot fit is not built
		if size += len(headers[i].Name) + len(headers[i].Value) + overhead; size > maxProperties {
			return b, fmt.Errorf(
				"%w: its %d headers do not fit into message properties, of which RocketMQ holds %d bytes",
				ErrUnmappable,
				len(headers),
				maxProperties,
			)
		}
	}
	var scratch [16]int
	ranks := rank(headers, scratch[:0])
	before, all := len(b.pieces), true
	for i := range headers {
		if h := &headers[i]; ranks[i] != repeated && isProperty(h) {
			b.values = append(b.values, h.Value...)
			b = b.end(h.Name)
		} else {
			all = false
		}
	}
	if all {
		return b.addOrder(ranks), nil
	}
	list, err := encodeHeaders(headers)
	if err != nil {
		return b, err
	}
	if b.size()+overhead+len(PropertyHeaders)+len(list) > maxProperties {
		b = b.truncate(before)
	}
	return b.add(PropertyHeaders, list), nil
}

// repeated is the rank of a header whose name another one has too.
const repeated = -1

// rank returns the place of each header among the sorted names.
func rank(headers []record.Header, ranks []int) []int {
	var scratch [16]int
	sorted := scratch[:0]
	for i := range headers {
		sorted, ranks = append(sorted, i), append(ranks, 0)
	}
	slices.SortFunc(sorted, func(a, b int) int { return strings.Compare(headers[a].Name, headers[b].Name) })
	for place, i := range sorted {
		ranks[i] = place
	}
	for place := 1; place < len(sorted); place++ {
		if i, j := sorted[place-1], sorted[place]; headers[i].Name == headers[j].Name {
			ranks[i], ranks[j] = repeated, repeated
		}
	}
	return ranks
}

func (b builder) addOrder(ranks []int) builder {
	if slices.IsSorted(ranks) {
		return b
	}
	for i, r := range ranks {
		if i > 0 {
			b.values = append(b.values, ',')
		}
		b.values = strconv.AppendInt(b.values, int64(r), 10)
	}
	return b.end(PropertyOrder)
}

// ordered puts sorted headers into the order that PropertyOrder gives. An order that does not fit them (somebody added
// or removed a property on the way) is left aside.
func ordered(sorted []record.Header, order string) []record.Header {
	if order == "" || strings.Count(order, ",")+1 != len(sorted) {
		return sorted
	}
	out, taken := make([]record.Header, 0, len(sorted)), make([]bool, len(sorted))
	for field := range strings.SplitSeq(order, ",") {
		i, err := strconv.Atoi(field)
		if err != nil || i < 0 || i >= len(sorted) || taken[i] {
			return sorted
		}
		taken[i] = true
		out = append(out, sorted[i])
	}
	return out
}

func encodeHeaders(headers []record.Header) (string, error) {
	list := make([]jsonHeader, len(headers))
	for i := range headers {
		list[i].Value = headers[i].Value
		if utf8.ValidString(headers[i].Name) {
			list[i].Name = &headers[i].Name
		} else {
			list[i].NameBytes = []byte(headers[i].Name)
		}
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return "", fmt.Errorf("%w: writing its headers: %w", ErrUnmappable, err)
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}

func decodeHeaders(encoded string) ([]record.Header, error) {
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, damaged(PropertyHeaders, err)
	}
	var list []jsonHeader
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, damaged(PropertyHeaders, err)
	}
	headers := make([]record.Header, len(list))
	for i, each := range list {
		headers[i] = record.Header{Name: string(each.NameBytes), Value: each.Value}
		if each.Name != nil {
			headers[i].Name = *each.Name
		}
	}
	return headers, nil
}
