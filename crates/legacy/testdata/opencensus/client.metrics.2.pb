+

laterabout later1 
è
¤