// The Go reference as an oracle: it answers questions about notes, keys, tile paths, proofs and
// tiles with golang.org/x/mod/sumdb/{note,tlog}, one answer line per question line.
//
// A question is a word and arguments, separated by tabs; bytes are hexadecimal. An answer begins
// with "ok" or "no". Nothing here decides anything: every verdict is the library's.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(make([]byte, 1<<20), 1<<26)
	output := bufio.NewWriter(os.Stdout)
	defer output.Flush()
	for input.Scan() {
		answer, err := ask(strings.Split(input.Text(), "\t"))
		if err != nil {
			fmt.Fprintf(output, "no\t%q\n", err.Error())
			continue
		}
		fmt.Fprintf(output, "ok\t%s\n", answer)
	}
	if err := input.Err(); err != nil {
		panic(err)
	}
}

func ask(words []string) (string, error) {
	switch words[0] {
	case "inclusion": // size, root, index, leaf, proof
		err := tlog.CheckRecord(hashes(words[5]), number(words[1]), hash(words[2]), number(words[3]), hash(words[4]))
		return "", err
	case "consistency": // new size, new root, old size, old root, proof
		err := tlog.CheckTree(hashes(words[5]), number(words[1]), hash(words[2]), number(words[3]), hash(words[4]))
		return "", err
	case "path": // a tile path with the height in it, as Go writes them
		tile, err := tlog.ParseTilePath(string(raw(words[1])))
		return fmt.Sprintf("%d %d %d", tile.L, tile.N, tile.W), err
	case "tree": // a checkpoint text of the Go checksum database
		tree, err := tlog.ParseTree(raw(words[1]))
		return fmt.Sprintf("%d %x", tree.N, tree.Hash[:]), err
	case "vkey":
		verifier, err := note.NewVerifier(string(raw(words[1])))
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%x %08x", verifier.Name(), verifier.KeyHash()), nil
	case "open": // note, vkeys
		return open(raw(words[1]), words[2:])
	case "sign": // text, skey
		signer, err := note.NewSigner(string(raw(words[2])))
		if err != nil {
			return "", err
		}
		signed, err := note.Sign(&note.Note{Text: string(raw(words[1]))}, signer)
		return hex.EncodeToString(signed), err
	case "record": // folder, size, root, index
		reader := tlog.TileHashReader(tlog.Tree{N: number(words[2]), Hash: hash(words[3])}, folder(words[1]))
		proof, err := tlog.ProveRecord(number(words[2]), number(words[4]), reader)
		return list(proof), err
	case "extension": // folder, new size, new root, old size
		reader := tlog.TileHashReader(tlog.Tree{N: number(words[2]), Hash: hash(words[3])}, folder(words[1]))
		proof, err := tlog.ProveTree(number(words[2]), number(words[4]), reader)
		return list(proof), err
	}
	panic("unknown question " + words[0])
}

func open(message []byte, vkeys []string) (string, error) {
	var verifiers []note.Verifier
	for _, vkey := range vkeys {
		verifier, err := note.NewVerifier(string(raw(vkey)))
		if err != nil {
			return "", err
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(message, note.VerifierList(verifiers...))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x %d %d", opened.Text, len(opened.Sigs), len(opened.UnverifiedSigs)), nil
}

// folder reads the tiles of one log, laid out as c2sp.org/tlog-tiles says.
type folder string

func (folder) Height() int { return 8 }

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var result [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		result = append(result, data)
	}
	return result, nil
}

func (folder) SaveTiles([]tlog.Tile, [][]byte) {}

func raw(text string) []byte {
	data, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return data
}

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}

func hash(text string) tlog.Hash {
	data := raw(text)
	if len(data) != tlog.HashSize {
		panic("not a hash: " + text)
	}
	return tlog.Hash(data)
}

func hashes(text string) []tlog.Hash {
	var result []tlog.Hash
	for ; text != ""; text = text[2*tlog.HashSize:] {
		result = append(result, hash(text[:2*tlog.HashSize]))
	}
	return result
}

func list[P ~[]tlog.Hash](proof P) string {
	var text strings.Builder
	for _, value := range proof {
		fmt.Fprintf(&text, "%x", value[:])
	}
	return text.String()
}
