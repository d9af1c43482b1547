/// Walks the fields of protobuf messages inside some bytes, without knowing what they mean, and
/// never past their end. Source: the protobuf encoding guide.
struct ProtobufFields {
    /// The bytes are not protobuf, or end too early.
    struct Damaged: Error {}

    /// A field: its number, and the bytes of its value.
    struct Field {
        let number: Int
        let range: Range<Int>
    }

    let bytes: [UInt8]

    /// The fields of the message in `range`, in order.
    func fields(in range: Range<Int>) throws -> [Field] {
        var found = [Field]()
        var at = range.lowerBound
        while at < range.upperBound {
            let key = try varint(&at, before: range.upperBound)
            guard let number = Int(exactly: key >> 3), number > 0 else { throw Damaged() }
            var start = at
            switch key & 7 {
            case 0:
                _ = try varint(&at, before: range.upperBound)
            case 1:
                at += 8
            case 2:
                let length = try varint(&at, before: range.upperBound)
                guard length <= UInt64(range.upperBound - at) else { throw Damaged() }
                start = at
                at += Int(length)
            case 5:
                at += 4
            default:
                throw Damaged()
            }
            guard at <= range.upperBound else { throw Damaged() }
            found.append(Field(number: number, range: start..<at))
        }
        return found
    }

    private func varint(_ at: inout Int, before end: Int) throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard at < end else { throw Damaged() }
            let byte = bytes[at]
            at += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw Damaged()
    }
}
