// One line {"id", "source", "into"} → one line {"id"}: sharp in the given number of threads, and as many images at once as asked.
const sharp = require("sharp");
const readline = require("node:readline");

sharp.concurrency(Number(process.argv[2]));
sharp.cache(false);
readline.createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, source, into } = JSON.parse(line);
  await sharp(source, { sequentialRead: true })
    .rotate()
    .resize(1920, 1080, { fit: "inside", withoutEnlargement: true })
    .jpeg({ quality: 82 })
    .toFile(into);
  process.stdout.write(JSON.stringify({ id }) + "\n");
});
