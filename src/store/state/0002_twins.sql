-- Serial numbers that two devices had at the same time: which one is meant only its socket says.
CREATE TABLE twins (
    device_id TEXT PRIMARY KEY,
    socket TEXT
);
