"""
Benchmarks against what a user could pick instead: both sides in one run, interleaved, as median ratios.

Each side is a process of its own that measures its own CPU, so that no server is counted with its client.

    __main__ -> one module per comparison -> sides (processes, rounds) -> report (table, JSON)
                                          -> played (the API), serving (web servers), scraping (their clients)
"""
