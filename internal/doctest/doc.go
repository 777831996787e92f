// Package doctest has no code. Its tests read README.md and all pages under docs: their code compiles, their commands
// and settings exist, what the code has is documented, and every page can be reached.
//
// Text before a code block can say what the block is:
//
//	<!-- run -->                   sh: the commands are executed, in an empty folder
//	<!-- module: benchmarks -->    go: compiled in that module, which has other dependencies
//	<!-- syntax -->                go: only parsed, because no module of this repository has its dependencies
//	<!-- excerpt -->               not checked: a part of something that is checked elsewhere, or of another program
package doctest
