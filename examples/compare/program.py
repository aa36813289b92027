found = await tools.words("the quick fox saw the other fox")
{word: found.count(word) for word in sorted(set(found)) if found.count(word) > 1}
