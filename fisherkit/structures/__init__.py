"""How an information is stored. Each structure is one file; only `promotion` knows them all."""
