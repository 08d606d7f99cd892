"""Vaults and stores: keys, ledger, runs, packs, index, snapshots, the collector."""
