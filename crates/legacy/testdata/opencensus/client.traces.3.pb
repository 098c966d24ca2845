
	
other/
	
	
"
of another node