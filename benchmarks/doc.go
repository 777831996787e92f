// Command benchmarks measures Expedite beside other servers on this machine.
//
//	go run . echo         CPU time per echoed message of 20 bytes
//	go run . broadcast    CPU time per delivery of a message to 1,000 connections
//	go run . idle         memory per idle connection, 15,000 of them
//	go run . handoff      live connections that move from one worker to the next, 15,000 of them
//	go run . million      a million connections, identified, with sessions; published to, moved, closed
//	go run . tuning       what the settings of docs/tuning.md do, as "expedite bench" shows it
//
// Each server is a process of its own with GOMAXPROCS=1 on one core; the clients are one event loop on another. Rounds
// of the servers alternate, so that both see the same weather. What counts is the ratio of their CPU time per message:
// the absolute figures belong to the machine and the hour.
//
// Handoff has no such neighbour and is not pinned: two workers take part in it. It needs as many open files per process
// as there are connections, and fails if one of them is lost.
package main
