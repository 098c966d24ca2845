"""What every scenario stands on: installed tools, processes, readers of
foreign output, and the checks that become the report."""
